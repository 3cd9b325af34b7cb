import { createHash, randomBytes } from 'node:crypto';
import {
  chmod,
  cp,
  link,
  lstat,
  mkdir,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { binariesIn, type PostgresBinaries } from './binaries';

type Log = (line: string) => void;

export interface DataDirectory {
  /** Folder of logs and of `data`, which belongs to `account`. */
  home: string;
  /** Account of the server; undefined for the account of this process. */
  account: Account | undefined;
}

/** Name of the pointer, a file with the path of a folder outside DATA_DIR. */
const POINTER = 'postgres.location';

/** Folders outside DATA_DIR; the first is preferred, as it survives a reboot. */
const RELOCATION_BASES = ['/var/lib', tmpdir(), '/tmp'].map((base) => join(base, 'audit-server'));

/**
 * Creates the server's folder in `dataDir`. When the account of a server that root starts cannot enter `dataDir`
 * (/root/checkout), the folder is in /var/lib/audit-server or the temporary folder, and `dataDir` has a pointer to it,
 * whose removal resets the data.
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

/** Copies programs that the account cannot run, once. */
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
    if (!(await stat(copy.initdb).catch(() => undefined))) throw error; // another process may have copied them
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

/** Creates a folder that this process owns: the account could plant links in its folders, which root would follow. */
async function makeHome(home: string, account: Account | undefined): Promise<void> {
  await mkdir(home, { recursive: true });
  await chmod(home, account ? 0o711 : 0o700);
}

/** Throws advice in place of "permission denied" when the data belong to another user. */
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

/** Lets all users read a copy, whatever the umask of the installation was. */
async function openToAll(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isSymbolicLink()) continue;
    const { mode } = await stat(path);
    await chmod(path, entry.isDirectory() || (mode & 0o100) !== 0 ? 0o755 : 0o644);
  }
}

export interface Account {
  name: string;
  uid: number;
  gid: number;
}

/** Unprivileged system users in order of preference; `_postgres` exists on macOS. */
const CANDIDATES = ['postgres', '_postgres', 'nobody', 'daemon'];

/**
 * Resolves with the account of the server; undefined for the account of this process. PostgreSQL refuses to run as root:
 * then it runs as the owner of existing data, or else as the first unprivileged system user. No user is created, as a
 * checkout must not change the users of its host.
 * @throws Error without a usable user.
 */
async function accountForServer(dataFolder: string): Promise<Account | undefined> {
  if (process.geteuid?.() !== 0) return undefined;
  const owner = await stat(dataFolder).catch(() => undefined);
  const users = parseUsers(await readFile('/etc/passwd', 'utf8').catch(() => ''));
  if (owner && owner.uid !== 0) {
    const name = users.find((user) => user.uid === owner.uid)?.name ?? String(owner.uid);
    return { name, uid: owner.uid, gid: owner.gid };
  }
  // A free number is no alternative: initdb fails for a number without an entry.
  for (const name of CANDIDATES) {
    const user = users.find((each) => each.name === name && each.uid !== 0);
    if (user) return user;
  }
  throw new Error(
    `PostgreSQL does not run as root, and none of the users ${CANDIDATES.join(', ')} exists here to run it. ` +
      'Start the service as an ordinary user, or set DATABASE_URL.',
  );
}

/** Parses a passwd file; skips other lines. */
export function parseUsers(passwd: string): Account[] {
  return passwd.split('\n').flatMap((line) => {
    const [name, , uid, gid] = line.split(':');
    const numbers = [uid, gid].map((text) => (/^-?\d+$/.test(text ?? '') ? Number(text) : NaN));
    const [uidNumber, gidNumber] = numbers;
    if (!name || uidNumber === undefined || gidNumber === undefined) return [];
    if (Number.isNaN(uidNumber) || Number.isNaN(gidNumber)) return [];
    return [{ name, uid: uidNumber, gid: gidNumber }];
  });
}

/**
 * Finds the first folder that the account may not enter, from `path` (which need not exist) upwards; undefined for none.
 * Only mode bits are read, no access lists.
 */
export async function findBarrier(
  path: string,
  account: Account | undefined,
): Promise<string | undefined> {
  if (!account) return undefined;
  for (let folder = path; ; folder = dirname(folder)) {
    const found = await stat(folder).catch(() => undefined);
    if (found && !mayUse(found, account, 0o1)) return folder;
    if (folder === dirname(folder)) return undefined;
  }
}

/** Applies the mode bits (0o4 read, 0o2 write, 0o1 execute or enter) to the account. */
export function mayUse(
  { uid, gid, mode }: { uid: number; gid: number; mode: number },
  account: Account,
  bits: number,
): boolean {
  // The account's groups do not count: the start drops supplementary groups.
  const shift = account.uid === uid ? 6 : account.gid === gid ? 3 : 0;
  return ((mode >> shift) & bits) === bits;
}
