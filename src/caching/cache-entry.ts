import { createHash } from 'node:crypto';
import { COMPRESSORS } from '../http/content-coding';
import { JSON_TYPE } from '../http/http-server.adapter';
import type { Coding } from '../http/negotiation';
import type { ResponseReservation } from '../http/response-memory';
import { exactBuffer, type Rendering, type SharedResponse } from './cached-read';
import type { Demand } from './demand-estimator';
import type { SizedValue } from './memory-store';

/** Rendered responses of an entry; the least recently used is evicted first. */
const MAX_RESPONSES = 16;

/** Larger heads are not copied into one piece with their tail. */
const MAX_COPIED_BYTES = 256 * 1024;
/** Upper bound of `tailData`, a few numbers and two positions; an exact count would need its text. */
const TAIL_DATA_BYTES = 2048;
/** Changes with the format, as replicas of two versions may share a Redis. */
const VERSION = 4;

interface StoredEntry {
  version: typeof VERSION;
  /** Time to live from the read; less the time that Redis reports as left, it is the age. */
  ttlMs: number;
  head: string;
  rest: unknown;
}

export interface SharedEntry {
  stored: unknown;
  leftMs: number;
}

interface Lifetime {
  group: string;
  ttlMs: number;
  /** Limit of a longer lifetime that another replica has set. */
  maxTtlMs?: number;
}

/** Cached response: the part that readers share, and the responses rendered for some of them. */
export class CacheEntry implements SizedValue {
  private readonly responses = new Map<string, RenderedResponse>();
  /** Last time at which the entry's version was current, on the clock of performance.now(). */
  verifiedAtMs = performance.now();
  demand: Demand | undefined = undefined;

  /** Shared text in UTF-8; once a response is rendered, a slice of its body. */
  private head: Buffer;
  readonly tailData: unknown;
  /** Memory of a large response while it is new, reserved until its readers have received it. */
  readonly reservation: ResponseReservation | undefined;
  readonly isTransient: boolean;

  constructor(
    shared: SharedResponse,
    /** Time of the read, on the clock of performance.now(). */
    readonly readAtMs: number,
    readonly ttlMs: number,
    /** Key without the version: an entry replaces the older one of its group. */
    readonly group = '',
  ) {
    this.head = shared.head;
    this.tailData = shared.tailData;
    this.reservation = shared.reservation;
    this.isTransient = shared.isTransient === true;
  }

  /**
   * The entry that a tier returned; undefined for another format. The age is taken from the time to live that Redis has
   * counted down, as replicas' clocks may differ.
   */
  static revive(
    found: unknown,
    { group, ttlMs, maxTtlMs = ttlMs }: Lifetime,
  ): CacheEntry | undefined {
    if (found instanceof CacheEntry) return found;
    if (typeof found !== 'object' || found === null) return undefined;
    const { stored, leftMs } = found as Partial<SharedEntry>;
    if (typeof stored !== 'object' || stored === null || !(Number(leftMs) > 0)) return undefined;
    const { version, ttlMs: wholeMs, head, rest: tailData } = stored as Partial<StoredEntry>;
    if (version !== VERSION || typeof head !== 'string' || !/^[[{]/.test(head)) return undefined;
    if (typeof wholeMs !== 'number' || tailData === undefined) return undefined;
    const readAtMs = performance.now() - Math.max(0, wholeMs - Number(leftMs));
    const lifetimeMs = Math.max(ttlMs, Math.min(wholeMs, maxTtlMs));
    const entry = new CacheEntry(
      { head: exactBuffer(head), tailData },
      readAtMs,
      lifetimeMs,
      group,
    );
    return entry.remainingMs() > 0 ? entry : undefined;
  }

  get sharedText(): string {
    return this.head.toString();
  }

  /** Not to be modified. */
  get sharedBytes(): Buffer {
    return this.head;
  }

  get headBytes(): number {
    return this.head.length;
  }

  /** Bytes of the shared part and the rendered responses. */
  get sizeBytes(): number {
    let bytes = this.head.length + TAIL_DATA_BYTES;
    for (const [variant, { sizeBytes }] of this.responses) {
      bytes += 2 * variant.length + sizeBytes;
    }
    return bytes;
  }

  ageMs(): number {
    return performance.now() - this.readAtMs;
  }

  ageSeconds(): number {
    return Math.floor(this.ageMs() / 1000);
  }

  /** Whole milliseconds; zero or less when expired. */
  remainingMs(): number {
    return Math.ceil(this.ttlMs - this.ageMs());
  }

  response(variant: string): RenderedResponse | undefined {
    const found = this.responses.get(variant);
    if (found && this.responses.size === MAX_RESPONSES) {
      this.responses.delete(variant);
      this.responses.set(variant, found);
    }
    return found;
  }

  /** Adds a response: the store has to measure the entry again. */
  render(variant: string, { tail, headers }: Rendering): RenderedResponse {
    const response = new RenderedResponse(this.partsWith(tail), this.head.length, headers);
    if (this.responses.size >= MAX_RESPONSES) {
      const [oldest] = this.responses.keys();
      if (oldest !== undefined) this.responses.delete(oldest);
    }
    this.responses.set(variant, response);
    return response;
  }

  /** Most entries have one reader: the body is one buffer, and the head a slice of it. */
  private partsWith(tail: string): Buffer[] {
    if (tail === '') return [this.head];
    const isCopied = this.responses.size === 0 && this.head.length <= MAX_COPIED_BYTES;
    if (!isCopied) return [this.head, exactBuffer(tail)];
    const whole = Buffer.allocUnsafeSlow(this.head.length + Buffer.byteLength(tail));
    this.head.copy(whole);
    whole.write(tail, this.head.length);
    this.head = whole.subarray(0, this.head.length);
    return [whole];
  }

  toJSON(): StoredEntry {
    const { ttlMs, head, tailData } = this;
    return { version: VERSION, ttlMs, head: head.toString(), rest: tailData };
  }
}

/** Below this compression costs more than it saves. */
const COMPRESSION_THRESHOLD_BYTES = 1400;

/** Measured as ENTRY_OVERHEAD_BYTES of memory-store.ts. */
const OBJECT_BYTES = 1250;

/** Copies of an incompressible body while it is compressed: the body in one piece, zlib's chunks, these in one piece. */
const ENCODING_COPIES = 3;

/** Representation (RFC 9110, section 3.2): the body in one coding, with its strong validator. */
export interface Representation {
  coding: Coding;
  parts: readonly Buffer[];
  length: number;
  etag: string;
  /** Name, value, name, value …. */
  headers: readonly string[];
}

/** Response as rendered for one reader: its representations in identity and in each coding requested so far. */
export class RenderedResponse {
  private readonly identity: Representation;
  private readonly compressed = new Map<Coding, Representation>();
  private readonly running = new Map<Coding, Promise<Representation>>();
  /** Name, value, name, value …. */
  readonly headers: readonly string[];

  /**
   * @param parts the whole body.
   * @param sharedBytes number of its bytes that the entry counts.
   */
  constructor(
    parts: readonly Buffer[],
    private readonly sharedBytes: number,
    headers: Rendering['headers'],
  ) {
    this.headers = Object.entries(headers).flat();
    this.identity = representationOf('identity', parts);
  }

  /** Bytes beyond those that the entry counts as shared. */
  get sizeBytes(): number {
    let bytes = OBJECT_BYTES - this.sharedBytes + this.identity.length;
    for (const { length } of this.compressed.values()) bytes += length;
    for (const text of this.headers) bytes += 2 * text.length;
    return bytes;
  }

  /** The representation in a coding, of a short body in identity; undefined until `encode` has made it. */
  ready(coding: Coding): Representation | undefined {
    const isShort = this.identity.length < COMPRESSION_THRESHOLD_BYTES;
    return isShort || coding === 'identity' ? this.identity : this.compressed.get(coding);
  }

  /** Makes the representation; concurrent calls for one coding share the compression. */
  async encode(coding: Coding): Promise<Representation> {
    const ready = this.ready(coding);
    if (ready || coding === 'identity') return ready ?? this.identity;
    let running = this.running.get(coding);
    if (!running) {
      running = COMPRESSORS[coding](inOnePiece(this.identity.parts)).then((body) => {
        const representation = representationOf(coding, [exactBuffer(body)]);
        this.compressed.set(coding, representation);
        return representation;
      });
      this.running.set(coding, running);
      running.finally(() => this.running.delete(coding)).catch(() => undefined);
    }
    return running;
  }

  /** Temporary memory of `encode` in bytes; 0 when the representation exists or is being made, or the body is short. */
  encodingBytes(coding: Coding): number {
    if (this.ready(coding) || this.running.has(coding)) return 0;
    return ENCODING_COPIES * this.identity.length;
  }
}

function inOnePiece(parts: readonly Buffer[]): Buffer {
  const [only] = parts;
  return parts.length === 1 && only ? only : Buffer.concat(parts);
}

function representationOf(coding: Coding, parts: readonly Buffer[]): Representation {
  const hash = createHash('sha256');
  let length = 0;
  for (const part of parts) {
    hash.update(part);
    length += part.length;
  }
  // 144 bits: 24 characters without padding.
  const etag = `"${hash.digest('base64url').slice(0, 24)}"`;
  const headers = ['Content-Type', JSON_TYPE, 'Content-Length', String(length)];
  if (coding !== 'identity') headers.push('Content-Encoding', coding);
  return { coding, parts, length, etag, headers };
}
