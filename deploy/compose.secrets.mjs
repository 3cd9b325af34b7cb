// Makes the secrets of compose.yaml: random ones at the first start, the same ones afterwards. Those that the environment
// gives (AUTH_JWT_SECRET, POSTGRES_PASSWORD, GRAFANA_PASSWORD) replace them. Each file can be read by its service only.
// Usage: node compose.secrets.mjs FOLDER
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [folder] = process.argv.slice(2);
/** The users of the images, by number. */
const [ROOT, SERVER, GRAFANA] = [0, 1000, 472];

const password = keep('postgres', ROOT, process.env.POSTGRES_PASSWORD);
keep('grafana', GRAFANA, process.env.GRAFANA_PASSWORD);
const secret = keep('jwt', ROOT, process.env.AUTH_JWT_SECRET);
// For `node --env-file`.
const settings = {
  DATABASE_URL: `postgres://audit:${encodeURIComponent(password)}@postgres:5432/audit`,
  AUTH_JWT_SECRET: secret,
};
const lines = Object.entries(settings).map(([name, value]) => `${name}=${quoted(value)}\n`);
write('server.env', SERVER, lines.join(''));

/** The secret in the file `name`, which is made if it is missing. */
function keep(name, owner, given) {
  const path = join(folder, name);
  const value =
    given || (existsSync(path) ? readFileSync(path, 'utf8') : randomBytes(32).toString('hex'));
  write(name, owner, value);
  return value;
}

/** Replaces a file at once, so that an interrupted start leaves none that is half written. */
function write(name, owner, text) {
  const path = join(folder, name);
  const draft = `${path}.new`;
  writeFileSync(draft, text, { mode: 0o600 });
  chmodSync(draft, 0o400);
  if (process.geteuid() === 0) chownSync(draft, owner, owner);
  renameSync(draft, path);
}

function quoted(value) {
  const quote = ["'", '"', '`'].find((each) => !value.includes(each));
  if (quote === undefined || value.includes('\n')) {
    throw new Error('A secret must be one line with at most two kinds of quotes.');
  }
  return `${quote}${value}${quote}`;
}
