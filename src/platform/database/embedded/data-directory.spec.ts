import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findBarrier, mayUse, parseUsers } from './data-directory';

const stranger = { name: 'stranger', uid: 54321, gid: 54321 };

describe('parseUsers', () => {
  it('reads the users of a passwd file, with negative numbers, and skips other lines', () => {
    const passwd =
      '# comment\nroot:x:0:0:root:/root:/bin/sh\nnobody:*:-2:-2::/:/bin/false\n+::::::\n';
    expect(parseUsers(passwd)).toEqual([
      { name: 'root', uid: 0, gid: 0 },
      { name: 'nobody', uid: -2, gid: -2 },
    ]);
  });
});

describe('mayUse', () => {
  it.each([
    ['owner', { uid: 54321, gid: 1, mode: 0o500 }, true],
    ['owner whose bits forbid what others may', { uid: 54321, gid: 1, mode: 0o077 }, false],
    ['member of the group', { uid: 1, gid: 54321, mode: 0o050 }, true],
    ['member of the group that may not', { uid: 1, gid: 54321, mode: 0o707 }, false],
    ['other', { uid: 1, gid: 1, mode: 0o005 }, true],
    ['other that may not', { uid: 1, gid: 1, mode: 0o774 }, false],
  ])('looks at the bits of the class that counts: %s', (_who, entry, expected) => {
    expect(mayUse(entry, stranger, 0o5)).toBe(expected);
  });
});

describe('findBarrier', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'audit-server-account-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('names the folder that the account cannot enter, also for a path that does not exist', async () => {
    await mkdir(join(folder, 'open'), { mode: 0o755 });
    await chmod(folder, 0o700);
    expect(await findBarrier(join(folder, 'open', 'not', 'yet'), stranger)).toBe(folder);
  });

  it('finds none when the account can enter every folder, nor for the user of the process', async () => {
    await chmod(folder, 0o755);
    expect(await findBarrier(join(folder, 'open'), stranger)).toBeUndefined();
    await chmod(folder, 0o700);
    expect(await findBarrier(folder, undefined)).toBeUndefined();
  });
});
