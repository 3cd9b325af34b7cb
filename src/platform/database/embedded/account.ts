import { readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

export interface Account {
  name: string;
  uid: number;
  gid: number;
}

/** Unprivileged system users; `_postgres` is that of macOS. */
const CANDIDATES = ['postgres', '_postgres', 'nobody', 'daemon'];

/**
 * Resolves with the account of the server, undefined for that of this process. PostgreSQL refuses to run as root: the
 * owner of existing data runs it, else the first unprivileged system user. None is created, as a checkout must not
 * change its host's users.
 * @throws Error without a usable user.
 */
export async function accountForServer(dataFolder: string): Promise<Account | undefined> {
  if (process.geteuid?.() !== 0) return undefined;
  const owner = await stat(dataFolder).catch(() => undefined);
  const users = parseUsers(await readFile('/etc/passwd', 'utf8').catch(() => ''));
  if (owner && owner.uid !== 0) {
    const name = users.find((user) => user.uid === owner.uid)?.name ?? String(owner.uid);
    return { name, uid: owner.uid, gid: owner.gid };
  }
  // initdb fails for a number without an entry, so a free one is no choice.
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
 * Finds the first folder from `path`, which need not exist, upwards that the account may not enter; undefined for none.
 * Access lists beyond the mode bits are not read.
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
  // Only the account's class counts: supplementary groups are dropped at the start.
  const shift = account.uid === uid ? 6 : account.gid === gid ? 3 : 0;
  return ((mode >> shift) & bits) === bits;
}
