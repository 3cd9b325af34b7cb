import type { ResponseReservation } from '../http/response-memory';
import { exactBuffer, type Rendering, type SharedResponse } from './cached-read';
import type { SizedValue } from './memory-store';
import { Representation } from './representation';

/** Representations that one entry keeps; the least recently used goes first. */
const MAX_REPRESENTATIONS = 16;

/** A larger head is not copied for a body in one piece. */
const MAX_COPIED_BYTES = 256 * 1024;
/** Upper bound of `rest`: a few numbers and two positions. An exact count would need its text. */
const REST_BYTES = 2048;
/** Changes with the format: replicas of two versions may share a Redis for a while. */
const VERSION = 2;

/** An entry in the shared tier. */
interface StoredEntry {
  version: typeof VERSION;
  /** Its whole time to live: with the rest of it that Redis reports, its age. */
  ttlMs: number;
  head: string;
  rest: unknown;
}

/** An entry from the shared tier, and the rest of its time to live there. */
export interface SharedEntry {
  stored: unknown;
  leftMs: number;
}

interface Kept {
  group: string;
  ttlMs: number;
}

/** A kept response: what its readers share, and what was rendered for some of them. */
export class CacheEntry implements SizedValue {
  private readonly representations = new Map<string, Representation>();
  /** When its epoch was last known to be the current one, on the clock of performance.now(). */
  verifiedAtMs = performance.now();

  /** The shared text in UTF-8; once there is a representation, a part of its bytes. */
  private head: Buffer;
  readonly rest: unknown;
  /** The memory of a large response while it is new, to be held for its readers. */
  readonly reservation: ResponseReservation | undefined;

  constructor(
    shared: SharedResponse,
    /** When it was read, on the clock of performance.now(). */
    readonly readAtMs: number,
    readonly ttlMs: number,
    /** Its key without the epoch: an entry replaces an older one of its group. */
    readonly group = '',
  ) {
    this.head = shared.head;
    this.rest = shared.rest;
    this.reservation = shared.reservation;
  }

  /**
   * The entry from the value of a tier; undefined when that has another format. Its age is the part of its time to live that
   * Redis has counted down, so that the clocks of replicas need not agree.
   */
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

  /** Not to be changed. */
  get sharedBytes(): Buffer {
    return this.head;
  }

  get headBytes(): number {
    return this.head.length;
  }

  /** Bytes of the shared part and of all representations. */
  get sizeBytes(): number {
    let bytes = this.head.length + REST_BYTES;
    for (const [variant, { sizeBytes }] of this.representations) {
      bytes += 2 * variant.length + sizeBytes;
    }
    return bytes;
  }

  /** Milliseconds since it was read. */
  ageMs(): number {
    return performance.now() - this.readAtMs;
  }

  ageSeconds(): number {
    return Math.floor(this.ageMs() / 1000);
  }

  /** The rest of its time to live in whole milliseconds; zero or less when it has expired. */
  remainingMs(): number {
    return Math.ceil(this.ttlMs - this.ageMs());
  }

  /** The representation for a variant, if it was made before. */
  representation(variant: string): Representation | undefined {
    const found = this.representations.get(variant);
    if (found && this.representations.size === MAX_REPRESENTATIONS) {
      this.representations.delete(variant);
      this.representations.set(variant, found);
    }
    return found;
  }

  /** Makes and keeps the representation for a variant. The entry grows by it: its store has to be resized. */
  render(variant: string, { tail, headers }: Rendering): Representation {
    const representation = new Representation(this.partsWith(tail), this.head.length, headers);
    if (this.representations.size >= MAX_REPRESENTATIONS) {
      const [oldest] = this.representations.keys();
      if (oldest !== undefined) this.representations.delete(oldest);
    }
    this.representations.set(variant, representation);
    return representation;
  }

  /** Most entries have one reader: its body is one piece, and the entry's own bytes are the beginning of that. */
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
