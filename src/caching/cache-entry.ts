import type { ResponseReservation } from '../http/response-memory';
import type { Rendering, SharedResponse } from './cached-read';
import { exactBuffer } from './exact-buffer';
import type { SizedValue } from './memory-store';
import { Representation } from './representation';

/** Renditions that one entry keeps; another reader takes the place of the one that did not come for longest. */
const MAX_REPRESENTATIONS = 16;

/** Changes with the meaning of what is stored: replicas of two versions may share a Redis for a while. */
const VERSION = 2;

/** How an entry travels to the shared tier and back. */
interface StoredEntry {
  version: typeof VERSION;
  /** Its time to live when it was made, in milliseconds: with what Redis says is left of it, its age. */
  ttlMs: number;
  head: string;
  rest: unknown;
}

/** What the shared tier gives back: the entry, and the milliseconds that Redis will keep it yet. */
export interface SharedEntry {
  stored: unknown;
  leftMs: number;
}

/** How an entry is kept. */
interface Kept {
  group: string;
  ttlMs: number;
}

/** An answer that is kept: what its readers share, and what was already rendered for some of them. */
export class CacheEntry implements SizedValue {
  private readonly representations = new Map<string, Representation>();
  /** When its epoch was last seen to be the present one, on the clock of performance.now(). */
  verifiedAtMs = performance.now();

  /** What all readers share, in UTF-8; once there is a rendition, a part of its bytes. */
  private head: Buffer;
  readonly rest: unknown;
  /** The memory of a large answer while it is new, for those who hand it on. */
  readonly reservation: ResponseReservation | undefined;

  constructor(
    shared: SharedResponse,
    /** When it was read, on the clock of performance.now(). */
    readonly readAtMs: number,
    readonly ttlMs: number,
    /** Its key without the epoch: an entry takes the place of an older one of its group. */
    readonly group = '',
  ) {
    this.head = shared.head;
    this.rest = shared.rest;
    this.reservation = shared.reservation;
  }

  /**
   * The entry that a tier gave back; undefined when it is nothing that we wrote. Its age is what Redis has counted down
   * of its time to live, so that the clocks of replicas need not agree.
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

  /** The JSON text that all readers share: the `head` of the answer. */
  get sharedText(): string {
    return this.head.toString();
  }

  /** The same as bytes, not to be changed. */
  get sharedBytes(): Buffer {
    return this.head;
  }

  /** How many these are. */
  get headBytes(): number {
    return this.head.length;
  }

  /** Bytes of what is shared and of all renditions. */
  get sizeBytes(): number {
    let bytes = this.head.length + REST_BYTES;
    for (const [variant, rendition] of this.representations) {
      bytes += 2 * variant.length + rendition.sizeBytes;
    }
    return bytes;
  }

  /** Milliseconds since it was read. */
  ageMs(): number {
    return performance.now() - this.readAtMs;
  }

  /** The same as the Age header wants it. */
  ageSeconds(): number {
    return Math.floor(this.ageMs() / 1000);
  }

  /** Whole milliseconds that it may still be kept; zero or less when its time is over. */
  remainingMs(): number {
    return Math.ceil(this.ttlMs - this.ageMs());
  }

  /** The rendition for a variant, if it was made before. */
  representation(variant: string): Representation | undefined {
    const found = this.representations.get(variant);
    if (found && this.representations.size === MAX_REPRESENTATIONS) {
      // Now the last to go.
      this.representations.delete(variant);
      this.representations.set(variant, found);
    }
    return found;
  }

  /** Makes and keeps the rendition for a variant. The entry has grown by that: its store must be told. */
  render(variant: string, { tail, headers }: Rendering): Representation {
    const rendition = new Representation(this.partsWith(tail), this.head.length, headers);
    if (this.representations.size >= MAX_REPRESENTATIONS) {
      const [oldest] = this.representations.keys();
      if (oldest !== undefined) this.representations.delete(oldest);
    }
    this.representations.set(variant, rendition);
    return rendition;
  }

  /** Most entries have one reader: his answer is one piece, and the entry's own bytes are the beginning of it. */
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

/** A larger head is not copied for the sake of an answer in one piece. */
const MAX_COPIED_BYTES = 256 * 1024;

/** What `rest` takes at most: a few numbers and two positions. Counting it exactly would mean writing it out. */
const REST_BYTES = 2048;
