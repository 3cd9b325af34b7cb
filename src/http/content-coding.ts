import type { Transform } from 'node:stream';
import { promisify } from 'node:util';
import {
  brotliCompress,
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  deflate,
  gzip,
} from 'node:zlib';
import { AppError } from '../platform/errors/app-error';
import { abortablePromise } from '../platform/runtime/abort';
import { FairQueue } from '../platform/runtime/fair-queue';
import type { Coding } from './negotiation';

/** Functions that compress a whole response body, by coding. */
export const COMPRESSORS: Readonly<
  Record<Exclude<Coding, 'identity'>, (body: Buffer) => Promise<Buffer>>
> = {
  gzip: promisify<Buffer, Buffer>(gzip),
  deflate: promisify<Buffer, Buffer>(deflate),
  // The default quality, 11, takes a hundred times as long.
  br: (body) =>
    promisify(brotliCompress)(body, {
      params: {
        [constants.BROTLI_PARAM_QUALITY]: 4,
        [constants.BROTLI_PARAM_SIZE_HINT]: body.length,
      },
    }),
};

/** Limit of concurrent decompressions: libuv's pool has four threads (UV_THREADPOOL_SIZE). */
const MAX_DECOMPRESSORS = 4;

const DECOMPRESSORS = new Map<string, () => Transform>([
  ['gzip', () => createGunzip()],
  ['x-gzip', () => createGunzip()],
  ['deflate', () => createInflate()],
  ['br', () => createBrotliDecompress()],
]);

/**
 * Returns a factory of decompressors; undefined for `identity`.
 * @throws AppError UNSUPPORTED_MEDIA_TYPE for an unknown coding, and for a list of codings.
 */
export function decompressorFor(coding = 'identity'): (() => Transform) | undefined {
  const name = coding.trim().toLowerCase();
  const make = DECOMPRESSORS.get(name);
  if (make || name === 'identity') return make;
  throw new AppError(
    'UNSUPPORTED_MEDIA_TYPE',
    'This Content-Encoding is not supported: send identity, gzip, deflate or br.',
  );
}

/**
 * Decompresses with a new `decompressor`. `take` is called before each chunk is stored, and throws to refuse the body.
 * @throws AppError MALFORMED_JSON for bytes in another coding; the error of `take`; the reason of the signal.
 */
export async function decompress(
  compressed: Buffer,
  decompressor: Transform,
  { take, signal }: { take: (bytes: number) => void; signal: AbortSignal },
): Promise<Buffer> {
  const pieces: Buffer[] = [];
  try {
    return await abortablePromise<Buffer>(signal, (resolve, reject) => {
      decompressor.on('data', (piece: Buffer) => {
        try {
          take(piece.length);
          pieces.push(piece);
        } catch (error) {
          decompressor.destroy(); // at once, as further chunks may be waiting
          reject(error as Error);
        }
      });
      decompressor.on('error', () => {
        reject(new AppError('MALFORMED_JSON', 'The body is not what Content-Encoding says it is.'));
      });
      decompressor.on('end', () => resolve(Buffer.concat(pieces)));
      decompressor.end(compressed);
      return (reason) => reason;
    });
  } finally {
    decompressor.destroy();
    pieces.length = 0;
  }
}

/** Permits to decompress, round robin between senders, so that one sender's bodies do not delay all others. */
export class DecompressionPermits {
  private readonly queue: FairQueue;

  constructor(max = MAX_DECOMPRESSORS) {
    this.queue = new FairQueue(max, Infinity);
  }

  get held(): number {
    return this.queue.active;
  }

  /**
   * Runs `work` with a permit.
   * @throws the signal's reason when it aborts before the permit is granted; the error of `work`.
   */
  async run<T>(sender: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const { queue } = this;
    if (!queue.tryAcquire()) {
      await abortablePromise<void>(signal, (grant) => {
        const waiter = queue.enqueue(sender, grant);
        return (reason) => {
          if (waiter) queue.remove(waiter);
          return reason;
        };
      });
    }
    try {
      return await work();
    } finally {
      queue.release();
    }
  }
}
