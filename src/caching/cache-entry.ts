import type { ResponseReservation } from '../http/response-memory';
import { exactBuffer, type Rendering, type SharedResponse } from './cached-read';
import type { SizedValue } from './memory-store';
import { Representation } from './representation';

/** Representations per entry, least recently used evicted first. */
const MAX_REPRESENTATIONS = 16;

/** Larger heads are not copied into one piece with the rest. */
const MAX_COPIED_BYTES = 256 * 1024;
/** Upper bound of `rest`, a few numbers and two positions; an exact count would need its text. */
const REST_BYTES = 2048;
/** Changes with the format, as replicas of two versions may share a Redis. */
const VERSION = 2;

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
}

/** Cached response: the shared part, and representations for some readers. */
export class CacheEntry implements SizedValue {
  private readonly representations = new Map<string, Representation>();
  /** Last time its epoch was current, on the clock of performance.now(). */
  verifiedAtMs = performance.now();

  /** Shared text in UTF-8; once there is a representation, a part of its bytes. */
  private head: Buffer;
  readonly rest: unknown;
  /** Memory of a large response while it is new, held until its readers have it. */
  readonly reservation: ResponseReservation | undefined;

  constructor(
    shared: SharedResponse,
    /** On the clock of performance.now(). */
    readonly readAtMs: number,
    readonly ttlMs: number,
    /** Key without the epoch: an entry replaces the older one of its group. */
    readonly group = '',
  ) {
    this.head = shared.head;
    this.rest = shared.rest;
    this.reservation = shared.reservation;
  }

  /** Undefined for another format. Age is the time to live that Redis has counted down: replicas' clocks may differ. */
  static revive(found: unknown, { group, ttlMs }: Kept): CacheEntry | undefined {
    if (found instanceof CacheEntry) return found;
    if (typeof found !== 'object' || found === null) return undefined;
    const { stored, leftMs } = found as Partial<SharedEntry>;
    if (typeof stored !== 'object' || stored === null || !(Number(leftMs) > 0)) return undefined;
    const { version, ttlMs: wholeMs, head, rest } = stored as Partial<StoredEntry>;
    if (version !== VERSION || typeof head !== 'string' || !/^[[{]/.test(head)) return undefined;
    if (typeof wholeMs !== 'number' || rest === undefined) return undefined;
    const ageMs = Math.max(0, wholeMs - Number(leftMs));
    const readAtMs = performance.now() - ageMs;
    const entry = new CacheEntry({ head: exactBuffer(head), rest }, readAtMs, ttlMs, group);
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
