import { randomBytes, randomUUID } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from './load-environment';

/** Shortest HMAC key that does not weaken HS256 (RFC 7518, 3.2). */
export const MIN_SECRET_BYTES = 32;

const FILE_NAME = 'auth-jwt-secret';

function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Creates the secret unless another process was faster. */
function create(path: string): void {
  const draft = `${path}.${randomUUID()}`;
  const secret = randomBytes(MIN_SECRET_BYTES).toString('base64url');
  try {
    writeFileSync(draft, `${secret}\n`, { flag: 'wx', mode: 0o600 });
    // A file created with "wx" can be read before it is written; a link is complete, and fails when the name is taken.
    linkSync(draft, path);
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

function readOrCreate(dataDir: string): string | undefined {
  const path = join(dataDir, FILE_NAME);
  const existing = read(path);
  if (existing !== undefined) return existing;
  mkdirSync(dataDir, { recursive: true });
  create(path);
  return read(path);
}

/**
 * The token secret for development and tests: 32 random bytes as base64url, made at the first start, shared by
 * concurrent ones and kept in `auth-jwt-secret` of the data folder (mode 0600).
 * @throws ConfigError when the folder cannot be used or the file holds less than 32 bytes.
 */
export function developmentSecret(dataDir: string): string {
  let secret: string | undefined;
  try {
    secret = readOrCreate(dataDir);
  } catch (error) {
    if (codeOf(error) === '') throw error;
    const allowed = `be a folder in which ${FILE_NAME} can be read and created (${codeOf(error)})`;
    throw new ConfigError([{ variable: 'DATA_DIR', value: dataDir, allowed }]);
  }
  if (secret !== undefined && Buffer.byteLength(secret) >= MIN_SECRET_BYTES) return secret;
  const allowed = `be a folder whose ${FILE_NAME} holds at least ${MIN_SECRET_BYTES} bytes; remove the file to have another made`;
  throw new ConfigError([{ variable: 'DATA_DIR', value: dataDir, allowed }]);
}
