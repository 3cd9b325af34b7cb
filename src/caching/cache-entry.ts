import { createHash } from 'node:crypto';
import { COMPRESSORS } from '../http/content-coding';
import { JSON_TYPE } from '../http/http-server.adapter';
import type { Coding } from '../http/negotiation';
import type { ResponseReservation } from '../http/response-memory';
import { exactBuffer, type Rendering, type SharedResponse } from './cached-read';
import type { Demand } from './demand-estimator';
import type { SizedValue } from './memory-store';

/** Representations per entry, least recently used evicted first. */
const MAX_REPRESENTATIONS = 16;

/** Larger heads are not copied into one piece with the rest. */
const MAX_COPIED_BYTES = 256 * 1024;
/** Upper bound of `rest`, a few numbers and two positions; an exact count would need its text. */
const REST_BYTES = 2048;
/** Changes with the format, as replicas of two versions may share a Redis. */
const VERSION = 4;

interface StoredEntry {
  version: typeof VERSION;
  /** Whole time to live; minus the rest that Redis reports, the age. */
  ttlMs: number;
  head: string;
  rest: unknown;
}

export interface SharedEntry {
  stored: unknown;
  leftMs: number;
}

interface Kept {
  group: string;
  ttlMs: number;
  /** Up to which the lifetime that another replica gave counts. */
  maxTtlMs?: number;
}

/** Cached response: the shared part, and representations for some readers. */
export class CacheEntry implements SizedValue {
  private readonly representations = new Map<string, Representation>();
  /** Last time its version was current, on the clock of performance.now(). */
  verifiedAtMs = performance.now();
  demand: Demand | undefined = undefined;

  /** Shared text in UTF-8; once there is a representation, a part of its bytes. */
  private head: Buffer;
  readonly rest: unknown;
  /** Memory of a large response while it is new, held until its readers have it. */
  readonly reservation: ResponseReservation | undefined;

  constructor(
    shared: SharedResponse,
    /** Time of the read, on the clock of performance.now(). */
    readonly readAtMs: number,
    readonly ttlMs: number,
    /** Key without the version: an entry replaces the older one of its group. */
    readonly group = '',
  ) {
    this.head = shared.head;
    this.rest = shared.rest;
    this.reservation = shared.reservation;
  }

  /** Undefined for another format. Age is the time to live that Redis has counted down: replicas' clocks may differ. */
  static revive(found: unknown, { group, ttlMs, maxTtlMs = ttlMs }: Kept): CacheEntry | undefined {
    if (found instanceof CacheEntry) return found;
    if (typeof found !== 'object' || found === null) return undefined;
    const { stored, leftMs } = found as Partial<SharedEntry>;
    if (typeof stored !== 'object' || stored === null || !(Number(leftMs) > 0)) return undefined;
    const { version, ttlMs: wholeMs, head, rest } = stored as Partial<StoredEntry>;
    if (version !== VERSION || typeof head !== 'string' || !/^[[{]/.test(head)) return undefined;
    if (typeof wholeMs !== 'number' || rest === undefined) return undefined;
    const readAtMs = performance.now() - Math.max(0, wholeMs - Number(leftMs));
    const ownMs = Math.max(ttlMs, Math.min(wholeMs, maxTtlMs));
    const entry = new CacheEntry({ head: exactBuffer(head), rest }, readAtMs, ownMs, group);
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

  /** Bytes of shared part and representations. */
  get sizeBytes(): number {
    let bytes = this.head.length + REST_BYTES;
    for (const [variant, { sizeBytes }] of this.representations) {
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

  representation(variant: string): Representation | undefined {
    const found = this.representations.get(variant);
    if (found && this.representations.size === MAX_REPRESENTATIONS) {
      this.representations.delete(variant);
      this.representations.set(variant, found);
    }
    return found;
  }

  /** Makes and stores a representation: the entry's store has to be resized. */
  render(variant: string, { tail, headers }: Rendering): Representation {
    const representation = new Representation(this.partsWith(tail), this.head.length, headers);
    if (this.representations.size >= MAX_REPRESENTATIONS) {
      const [oldest] = this.representations.keys();
      if (oldest !== undefined) this.representations.delete(oldest);
    }
    this.representations.set(variant, representation);
    return representation;
  }

  /** Most entries have one reader: its body is one piece that begins with the entry's bytes. */
  private partsWith(tail: string): Buffer[] {
    if (tail === '') return [this.head];
    const isCopied = this.representations.size === 0 && this.head.length <= MAX_COPIED_BYTES;
    if (!isCopied) return [this.head, exactBuffer(tail)];
    const whole = Buffer.allocUnsafeSlow(this.head.length + Buffer.byteLength(tail));
    this.head.copy(whole);
    whole.write(tail, this.head.length);
    this.head = whole.subarray(0, this.head.length);
    return [whole];
  }

  toJSON(): StoredEntry {
    const { ttlMs, head, rest } = this;
    return { version: VERSION, ttlMs, head: head.toString(), rest };
  }
}

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

/** One reader's response, in identity and in each coding requested so far. */
export class Representation {
  private readonly identity: Encoded;
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
    this.identity = encodedOf('identity', parts);
  }

  /** Bytes beyond the shared ones. */
  get sizeBytes(): number {
    let bytes = OBJECT_BYTES - this.sharedBytes + this.identity.length;
    for (const { length } of this.encoded.values()) bytes += length;
    for (const text of this.headers) bytes += 2 * text.length;
    return bytes;
  }

  /** Undefined unless made before, or in identity when too short to be compressed. */
  ready(coding: Coding): Encoded | undefined {
    const isShort = this.identity.length < COMPRESSION_THRESHOLD_BYTES;
    return isShort || coding === 'identity' ? this.identity : this.encoded.get(coding);
  }

  /** Single flight for each coding. */
  async encode(coding: Coding): Promise<Encoded> {
    const ready = this.ready(coding);
    if (ready || coding === 'identity') return ready ?? this.identity;
    let running = this.running.get(coding);
    if (!running) {
      running = COMPRESSORS[coding](inOnePiece(this.identity.parts)).then((body) => {
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
    return ENCODING_COPIES * this.identity.length;
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
  const headers = ['Content-Type', JSON_TYPE, 'Content-Length', String(length)];
  if (coding !== 'identity') headers.push('Content-Encoding', coding);
  return { coding, parts, length, etag, headers };
}
