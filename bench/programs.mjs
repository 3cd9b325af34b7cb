// Programs that a benchmark is measured beside, when they are there.
import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Debian keeps the programs of each version of PostgreSQL here. */
const DEBIAN = '/usr/lib/postgresql';
/** Where servers are that only administrators have on their PATH. */
const MORE = ['/usr/sbin', '/usr/local/sbin'];

/** The path of a program, undefined when there is none. */
export function onPath(name) {
  return [...(process.env.PATH ?? '').split(delimiter), ...MORE]
    .map((folder) => join(folder, name))
    .find(isExecutable);
}

export function pgbenchPath() {
  const debian = existsSync(DEBIAN) ? readdirSync(DEBIAN) : [];
  return onPath('pgbench') ?? debian.map((v) => join(DEBIAN, v, 'bin/pgbench')).find(isExecutable);
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
