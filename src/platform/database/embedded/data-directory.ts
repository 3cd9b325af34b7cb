import { createHash, randomBytes } from 'node:crypto';
import { chmod, cp, link, lstat, mkdir, readdir, readFile, realpath } from 'node:fs/promises';
import { rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Account, accountForServer, findBarrier, mayUse } from './account';
import { binariesIn, type PostgresBinaries } from './binaries';

type Log = (line: string) => void;

export interface DataDirectory {
  /** Folder of logs and of `data`, which belongs to `account`. */
  home: string;
  /** Account of the server, undefined for that of this process. */
  account: Account | undefined;
}

/** File with the path of a folder outside DATA_DIR. */
const POINTER = 'postgres.location';

/** Preferred first: it survives a reboot. */
const RELOCATION_BASES = ['/var/lib', tmpdir(), '/tmp'].map((base) => join(base, 'audit-server'));

/**
 * Creates the server's folder in `dataDir`. When a root process's account cannot enter it (/root/checkout), files go to
 * /var/lib/audit-server or the temporary folder, and `dataDir` gets a pointer: its removal resets the data.
 * @throws Error when the account cannot reach existing data.
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

/** Copies, once, programs that the account cannot run. */
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
    if (!(await stat(copy.initdb).catch(() => undefined))) throw error; // else copied by another process
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

/** Creates a folder outside `dataDir`, the same for two concurrent processes. */
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
    await link(draft, pointer); // atomic, and never replaces another process's pointer
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

/** Finds a base that the account can reach and no other user can write to. */
async function relocationBase(account: Account): Promise<string> {
  for (const base of RELOCATION_BASES) {
    const made = await mkdir(base, { recursive: true, mode: 0o755 }).then(
      async (first) => (first === base ? chmod(base, 0o755) : undefined), // despite the umask
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

/** Keeps ownership, so that the account cannot plant links for a root process to follow. */
async function makeHome(home: string, account: Account | undefined): Promise<void> {
  await mkdir(home, { recursive: true });
  await chmod(home, account ? 0o711 : 0o700);
}

/** Gives advice instead of "permission denied": a user cannot use another user's data. */
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

/** Opens a copy to all, whatever the installation's umask. */
async function openToAll(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isSymbolicLink()) continue;
    const { mode } = await stat(path);
    await chmod(path, entry.isDirectory() || (mode & 0o100) !== 0 ? 0o755 : 0o644);
  }
}
