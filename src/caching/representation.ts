import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { brotliCompress, constants, deflate, gzip } from 'node:zlib';
import type { Coding } from '../http/negotiation';
import { exactBuffer, type Rendering } from './cached-read';

/** Below this compression costs more than it saves. */
const COMPRESSION_THRESHOLD_BYTES = 1400;

/** Measured as ENTRY_OVERHEAD_BYTES of memory-store.ts. */
const OBJECT_BYTES = 1250;

/** Incompressible body in one piece, zlib's chunks, and those in one piece. */
const ENCODING_COPIES = 3;

/** Bytes ready to be sent, with their strong validator. */
export interface Encoded {
  coding: Coding;
  parts: readonly Buffer[];
  length: number;
  etag: string;
  /** Name, value, name, value …. */
  headers: readonly string[];
}

const compress = {
  gzip: promisify<Buffer, Buffer>(gzip),
  deflate: promisify<Buffer, Buffer>(deflate),
  // Quality 11, the default, takes a hundred times as long.
  br: (body: Buffer) =>
    promisify(brotliCompress)(body, {
      params: {
        [constants.BROTLI_PARAM_QUALITY]: 4,
        [constants.BROTLI_PARAM_SIZE_HINT]: body.length,
      },
    }),
};

/** One reader's response, in each coding requested so far. */
export class Representation {
  private readonly encoded = new Map<Coding, Encoded>();
  private readonly running = new Map<Coding, Promise<Encoded>>();
  /** Name, value, name, value …. */
  readonly headers: readonly string[];

  /**
   * @param parts the whole body.
   * @param sharedBytes how many of its bytes are counted with the entry.
   */
  constructor(
    parts: readonly Buffer[],
    private readonly sharedBytes: number,
    headers: Rendering['headers'],
  ) {
    this.headers = Object.entries(headers).flat();
    this.encoded.set('identity', encodedOf('identity', parts));
  }

  /** Bytes beyond the shared ones. */
  get sizeBytes(): number {
    let bytes = OBJECT_BYTES - this.sharedBytes;
    for (const { length } of this.encoded.values()) bytes += length;
    for (const text of this.headers) bytes += 2 * text.length;
    return bytes;
  }

  /** Undefined unless made before, or in identity when too short to be compressed. */
  ready(coding: Coding): Encoded | undefined {
    return this.encoded.get(this.isShort() ? 'identity' : coding);
  }

  /** Single flight for each coding. */
  async encode(coding: Coding): Promise<Encoded> {
    const ready = this.ready(coding);
    if (ready || coding === 'identity') return ready ?? this.identity();
    let running = this.running.get(coding);
    if (!running) {
      running = compress[coding](inOnePiece(this.identity().parts)).then((body) => {
        const made = encodedOf(coding, [exactBuffer(body)]);
        this.encoded.set(coding, made);
        return made;
      });
      this.running.set(coding, running);
      running.finally(() => this.running.delete(coding)).catch(() => undefined);
    }
    return running;
  }

  /** Temporary bytes of encoding; 0 when it exists, is under way, or the body is short. */
  encodingBytes(coding: Coding): number {
    if (this.ready(coding) || this.running.has(coding)) return 0;
    return ENCODING_COPIES * this.identity().length;
  }

  private isShort(): boolean {
    return this.identity().length < COMPRESSION_THRESHOLD_BYTES;
  }

  private identity(): Encoded {
    const identity = this.encoded.get('identity');
    if (!identity) throw new Error('A representation is made with its identity coding');
    return identity;
  }
}

function inOnePiece(parts: readonly Buffer[]): Buffer {
  const [only] = parts;
  return parts.length === 1 && only ? only : Buffer.concat(parts);
}

function encodedOf(coding: Coding, parts: readonly Buffer[]): Encoded {
  const hash = createHash('sha256');
  let length = 0;
  for (const part of parts) {
    hash.update(part);
    length += part.length;
  }
  // 144 bits: 24 characters without padding.
  const etag = `"${hash.digest('base64url').slice(0, 24)}"`;
  const headers = ['Content-Type', 'application/json; charset=utf-8'];
  headers.push('Content-Length', String(length));
  if (coding !== 'identity') headers.push('Content-Encoding', coding);
  return { coding, parts, length, etag, headers };
}
