import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { addAbortSignal, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';

const READ_BYTES = 256 * 1024;

export interface Source {
  /** Unpacked. Throws when the file cannot be read or its gzip is damaged or incomplete. */
  content: AsyncIterable<Buffer>;
  /** Of the file as stored; undefined for a pipe. */
  sizeBytes: number | undefined;
  /** Of the file as stored. */
  bytesRead: () => number;
}

/** Opens a file, or standard input for `-`. The signal ends the reading with an AbortError, also of a silent pipe. */
export async function openSource(path: string, signal: AbortSignal): Promise<Source> {
  if (path === '-') return sourceOf(addAbortSignal(signal, process.stdin), undefined);
  const stats = await stat(path);
  if (stats.isDirectory()) throw new Error(`${path} is a directory`);
  const stored = addAbortSignal(signal, createReadStream(path, { highWaterMark: READ_BYTES }));
  if (!stats.isFile()) return sourceOf(stored, undefined);
  return sourceOf(stored, stats.size);
}

function sourceOf(stored: Readable, sizeBytes: number | undefined): Source {
  let bytesRead = 0;
  async function* counted(): AsyncGenerator<Buffer> {
    for await (const chunk of stored as AsyncIterable<Buffer>) {
      bytesRead += chunk.length;
      yield chunk;
    }
  }
  return { content: unpacked(counted()), sizeBytes, bytesRead: () => bytesRead };
}

/** Gzip is recognized by its first two bytes. Several gzip members in a row are one content. */
async function* unpacked(stored: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  let head = Buffer.alloc(0);
  while (head.length < 2) {
    const next = await stored.next();
    if (next.done) break;
    head = Buffer.concat([head, next.value]);
  }
  const isGzip = head[0] === 0x1f && head[1] === 0x8b;
  const whole = prepended(head, stored);
  if (!isGzip) {
    yield* whole;
    return;
  }
  const packed = Readable.from(whole, { objectMode: false });
  const gunzip = createGunzip({ chunkSize: READ_BYTES });
  // `pipe` does not forward errors: the loop below would wait for ever after a read error.
  packed.on('error', (error) => gunzip.destroy(error));
  try {
    yield* packed.pipe(gunzip) as AsyncIterable<Buffer>;
  } finally {
    packed.destroy();
  }
}

async function* prepended(head: Buffer, rest: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  if (head.length > 0) yield head;
  yield* rest;
}
