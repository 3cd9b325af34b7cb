import { readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

export interface Account {
  name: string;
  uid: number;
  gid: number;
}

/** Users for such work; `_postgres` is that of macOS. */
const CANDIDATES = ['postgres', '_postgres', 'nobody', 'daemon'];

/**
 * PostgreSQL refuses to run as root, so a root process runs it as the owner of existing data, else as the first
 * unprivileged user of the system; undefined: as this process. No user is created, as a checkout has no business in the
 * user table of its host. Throws when there is none to use.
 */
export async function accountForServer(dataFolder: string): Promise<Account | undefined> {
  if (process.geteuid?.() !== 0) return undefined;
  const owner = await stat(dataFolder).catch(() => undefined);
  const users = parseUsers(await readFile('/etc/passwd', 'utf8').catch(() => ''));
  if (owner && owner.uid !== 0) {
    const name = users.find((user) => user.uid === owner.uid)?.name ?? String(owner.uid);
    return { name, uid: owner.uid, gid: owner.gid };
  }
  // initdb gives up for a number without an entry, so an arbitrary free one would not do.
  for (const name of CANDIDATES) {
    const user = users.find((each) => each.name === name && each.uid !== 0);
    if (user) return user;
  }
  throw new Error(
    `PostgreSQL does not run as root, and none of the users ${CANDIDATES.join(', ')} exists here to run it. ` +
      'Start the service as an ordinary user, or set DATABASE_URL.',
  );
}

/** The users of a passwd file; other lines are left out. */
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
 * The first folder from `path` upwards that the account may not enter, or undefined. `path` need not exist yet. Access
 * lists beyond the mode bits are not read. No account: no barrier.
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

/** Whether the mode bits (0o4 read, 0o2 write, 0o1 execute or enter) allow the account `bits`. */
export function mayUse(
  { uid, gid, mode }: { uid: number; gid: number; mode: number },
  account: Account,
  bits: number,
): boolean {
  // Only the class of the account counts, and its supplementary groups are dropped when it starts.
  const shift = account.uid === uid ? 6 : account.gid === gid ? 3 : 0;
  return ((mode >> shift) & bits) === bits;
}
