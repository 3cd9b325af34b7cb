import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { stat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';

/**
 * Limits a folder to one process: a listening local socket named after the folder's device and inode. The kernel frees
 * it however the process ends, so no lock is stale. Other processes read the holder's process id from it. Processes in
 * separate network namespaces (two containers on one volume) do not see each other.
 */
export class FolderLock {
  private constructor(
    private readonly server: Server,
    readonly address: string,
  ) {}

  /** Takes the lock of an existing folder. Throws an Error that names the holder when it is taken. */
  static async acquire(folder: string, platform: string = process.platform): Promise<FolderLock> {
    const address = await lockAddress(folder, platform);
    const server = await listen(address);
    if (server) return new FolderLock(server, address);
    const holder = await askHolder(address);
    // Only a socket in the file system (macOS) outlives its process; it has no listener then.
    if (holder === undefined && platform !== 'linux' && platform !== 'win32') {
      await unlink(address).catch(() => undefined);
      const second = await listen(address);
      if (second) return new FolderLock(second, address);
    }
    const who = holder === undefined ? 'another process' : `process ${holder}`;
    throw new Error(
      `The data in ${folder} is in use by ${who}. ` +
        'Stop that one first, or give this one a folder of its own with DATA_DIR.',
    );
  }

  /** Lets the next process in. */
  async release(): Promise<void> {
    if (!this.server.listening) return;
    this.server.close();
    await once(this.server, 'close');
  }
}

async function lockAddress(folder: string, platform: string): Promise<string> {
  const { dev, ino } = await stat(folder, { bigint: true });
  const name = `audit-server-${createHash('sha256').update(`${dev}:${ino}`).digest('hex').slice(0, 24)}`;
  if (platform === 'win32') return `\\\\.\\pipe\\${name}`;
  // Linux: a name without a file. Elsewhere a file; the temporary folder of the user may exceed the limit of 104 bytes.
  return platform === 'linux' ? `\0${name}` : `/tmp/${name}.sock`;
}

/** The server that holds the address, or undefined when it is taken. */
async function listen(address: string): Promise<Server | undefined> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined); // the other process may have gone
    socket.end(String(process.pid));
  });
  try {
    // Exclusive: workers of node:cluster would share the address otherwise.
    server.listen({ path: address, exclusive: true });
    await once(server, 'listening');
    return server.unref();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return undefined;
    throw error;
  }
}

/** The process id of the holder; undefined without an answer. */
async function askHolder(address: string): Promise<string | undefined> {
  const socket = connect(address).setTimeout(1000, () => socket.destroy());
  let reply = '';
  socket.setEncoding('utf8').on('data', (text: string) => (reply += text));
  try {
    await once(socket, 'close');
  } catch {
    return undefined;
  }
  return /^\d+$/.test(reply) ? reply : undefined;
}
