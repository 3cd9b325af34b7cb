import { createHash, randomBytes } from 'node:crypto';
import { chmod, cp, link, lstat, mkdir, readdir, readFile, realpath } from 'node:fs/promises';
import { rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Account, accountForServer, findBarrier, mayUse } from './account';
import { binariesIn, type PostgresBinaries } from './binaries';

type Log = (line: string) => void;

/** Files and user of the embedded PostgreSQL. */
export interface DataDirectory {
  /** Folder of the server: `data`, which belongs to `account`, and logs. */
  home: string;
  /** Undefined: that of this process. */
  account: Account | undefined;
}

/** File in DATA_DIR with the path of the folder, when that is elsewhere. */
const POINTER = 'postgres.location';

/** The first one survives a reboot. */
const RELOCATION_BASES = ['/var/lib', tmpdir(), '/tmp'].map((base) => join(base, 'audit-server'));

/**
 * Makes the folder of the server in `dataDir`. When the user of a root process's PostgreSQL cannot enter it
 * (/root/checkout), the files go to /var/lib/audit-server or the temporary folder and a pointer is left, so that
 * removing `dataDir` always starts afresh. Throws when the account cannot reach existing data.
 */
export async function prepareDataDirectory(dataDir: string, log: Log): Promise<DataDirectory> {
  await mkdir(dataDir, { recursive: true });
  const folder = await realpath(dataDir);
  const pointer = join(folder, POINTER);
  const pointed = (await readFile(pointer, 'utf8').catch(() => '')).trim();
  const home = pointed === '' ? join(folder, 'postgres') : pointed;
  await refuseForeignData(home);
  const account = await accountForServer(join(home, 'data'));
  if (pointed !== '') {
    if (await stat(home).catch(() => undefined)) return { home, account };
    throw new Error(
      `${pointer} says that the data are in ${home}, but nothing is there any more. ` +
        'Bring that folder back, or remove the file to start with an empty database.',
    );
  }
  const barrier = await findBarrier(folder, account);
  if (account && barrier !== undefined) {
    if (await stat(join(home, 'data')).catch(() => undefined)) {
      throw new Error(
        `The data in ${home} belong to user ${account.name}, who may not enter ${barrier}: ` +
          `open it (chmod o+x), or move DATA_DIR.`,
      );
    }
    return { home: await relocate(folder, pointer, account, log), account };
  }
  await makeHome(home, account);
  return { home, account };
}

/** The programs where the account can run them: as they are, else a copy, made once. */
export async function reachableBinaries(
  binaries: PostgresBinaries,
  account: Account | undefined,
  log: Log,
): Promise<PostgresBinaries> {
  if (!account || (await mayRun(binaries, account))) return binaries;
  const base = await relocationBase(account);
  const target = join(base, `postgresql-${binaries.version}-${process.platform}-${process.arch}`);
  const copy = binariesIn(target, binaries.version);
  if (await stat(copy.initdb).catch(() => undefined)) return copy;
  log(`Copying the programs of PostgreSQL to ${target}, where user ${account.name} can run them.`);
  const draft = `${target}.${randomBytes(6).toString('hex')}`;
  await cp(binaries.root, draft, { recursive: true, verbatimSymlinks: true });
  await openToAll(draft);
  await rename(draft, target).catch(async (error: unknown) => {
    await rm(draft, { recursive: true, force: true });
    if (!(await stat(copy.initdb).catch(() => undefined))) throw error; // else another process was faster
  });
  return copy;
}

async function mayRun({ root, initdb }: PostgresBinaries, account: Account): Promise<boolean> {
  const bits = new Map([
    [initdb, 0o5],
    [join(root, 'lib'), 0o5],
    [join(root, 'share', 'postgresql', 'postgres.bki'), 0o4],
  ]);
  for (const [path, wanted] of bits) {
    if ((await findBarrier(dirname(path), account)) !== undefined) return false;
    if (!mayUse(await stat(path), account, wanted)) return false;
  }
  return true;
}

/** A folder for the server outside `dataDir`. Two processes at once end up with the same one. */
async function relocate(
  dataDir: string,
  pointer: string,
  account: Account,
  log: Log,
): Promise<string> {
  const hash = createHash('sha256').update(dataDir).digest('hex').slice(0, 12);
  const name = `${hash}-${randomBytes(4).toString('hex')}`;
  const home = join(await relocationBase(account), name);
  await makeHome(home, account);
  const draft = `${pointer}.${randomBytes(4).toString('hex')}`;
  await writeFile(draft, `${home}\n`, { flag: 'wx' });
  try {
    await link(draft, pointer); // complete or not at all, and never over that of a faster process
  } catch (error) {
    await rm(home, { recursive: true, force: true });
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return (await readFile(pointer, 'utf8')).trim();
  } finally {
    await rm(draft, { force: true });
  }
  log(`User ${account.name} cannot reach ${dataDir}: the data of PostgreSQL are in ${home}.`);
  return home;
}

/** The first base that the account can reach and no other user can write to. */
async function relocationBase(account: Account): Promise<string> {
  for (const base of RELOCATION_BASES) {
    const made = await mkdir(base, { recursive: true, mode: 0o755 }).then(
      async (first) => (first === base ? chmod(base, 0o755) : undefined), // whatever the umask
      () => false,
    );
    if (made === false) continue;
    const { uid, mode } = await lstat(base);
    const isOurs = uid === process.geteuid?.() && (mode & 0o022) === 0;
    if (isOurs && (await findBarrier(base, account)) === undefined) return base;
  }
  throw new Error(
    `User ${account.name}, whom PostgreSQL has to run as, can reach none of ${RELOCATION_BASES.join(', ')}. ` +
      'Start the service as an ordinary user, or set DATABASE_URL.',
  );
}

/** The folder stays that of this process, so that the account cannot plant links for a root process to follow. */
async function makeHome(home: string, account: Account | undefined): Promise<void> {
  await mkdir(home, { recursive: true });
  await chmod(home, account ? 0o711 : 0o700);
}

/** An ordinary user cannot use data of another one; this says so instead of "permission denied". */
async function refuseForeignData(home: string): Promise<void> {
  const uid = process.geteuid?.();
  if (uid === undefined || uid === 0) return;
  const owner = await stat(join(home, 'data')).catch((error: NodeJS.ErrnoException) =>
    error.code === 'EACCES' ? { uid: undefined } : undefined,
  );
  if (!owner || owner.uid === uid) return;
  throw new Error(
    `The data in ${home} belong to another user${owner.uid === undefined ? '' : ` (${owner.uid})`}: ` +
      'start the service as the user who made them, or give it a folder of its own with DATA_DIR.',
  );
}

/** Makes a copy readable for all, whatever the umask of the installation was. */
async function openToAll(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isSymbolicLink()) continue;
    const { mode } = await stat(path);
    await chmod(path, entry.isDirectory() || (mode & 0o100) !== 0 ? 0o755 : 0o644);
  }
}
