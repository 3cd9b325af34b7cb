import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FolderLock } from './folder-lock';

// "freebsd" stands for the systems whose local sockets are files, such as macOS.
describe.each([process.platform, 'freebsd'])('FolderLock on %s', (platform) => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'audit-server-lock-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('refuses a second holder, by any path to the folder, and names the first', async () => {
    const lock = await FolderLock.acquire(folder, platform);
    const alias = join(folder, 'alias');
    await symlink(folder, alias);
    await expect(FolderLock.acquire(alias, platform)).rejects.toThrow(
      `is in use by process ${process.pid}`,
    );
    await lock.release();
  });

  it('admits the next holder once it is released, and can be released twice', async () => {
    const first = await FolderLock.acquire(folder, platform);
    await first.release();
    await first.release();
    const second = await FolderLock.acquire(folder, platform);
    await second.release();
  });

  it('is separate for two folders', async () => {
    const other = await mkdtemp(join(tmpdir(), 'audit-server-lock-'));
    const locks = [
      await FolderLock.acquire(folder, platform),
      await FolderLock.acquire(other, platform),
    ];
    await Promise.all(locks.map((lock) => lock.release()));
    await rm(other, { recursive: true });
  });
});

const describeSocketFiles = process.platform === 'win32' ? describe.skip : describe;

describeSocketFiles('FolderLock whose socket is a file', () => {
  it('takes over the file that a killed process left behind', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'audit-server-lock-'));
    const lock = await FolderLock.acquire(folder, 'freebsd');
    const address = lock.address;
    await lock.release();
    const script = `require('net').createServer().listen(${JSON.stringify(address)}, () => console.log('on'))`;
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');

    await (await FolderLock.acquire(folder, 'freebsd')).release();
    await rm(folder, { recursive: true });
  });
});
