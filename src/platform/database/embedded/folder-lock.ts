import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { stat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';

/**
 * Limits a folder to one process by a local socket, which is named after the folder's device and inode, and sends the
 * holder's process id. The kernel frees it at any end of the process, so no lock is stale. Processes in separate network
 * namespaces (two containers on one volume) do not see each other's locks.
 */
export class FolderLock {
  private constructor(
    private readonly server: Server,
    readonly address: string,
  ) {}

  /**
   * Locks an existing folder.
   * @throws Error that names the holder of an existing lock.
   */
  static async acquire(folder: string, platform: string = process.platform): Promise<FolderLock> {
    const address = await lockAddress(folder, platform);
    const server = await listen(address);
    if (server) return new FolderLock(server, address);
    const holder = await askHolder(address);
    // Only a socket in the file system (macOS) survives its process; then nothing listens on it.
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
  // Linux has sockets without a file. On other systems the path in a user's temporary folder may exceed 104 bytes.
  return platform === 'linux' ? `\0${name}` : `/tmp/${name}.sock`;
}

/** Listens on an address; resolves with undefined when it is taken. */
async function listen(address: string): Promise<Server | undefined> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined); // the other process may have ended
    socket.end(String(process.pid));
  });
  try {
    // Workers of node:cluster would share the address otherwise.
    server.listen({ path: address, exclusive: true });
    await once(server, 'listening');
    return server.unref();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return undefined;
    throw error;
  }
}

/** Resolves with the holder's process id; undefined without an answer. */
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
