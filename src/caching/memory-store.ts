import { LRUCache } from 'lru-cache';
import { wallClockMs } from '../platform/runtime/clocks';

export interface SizedValue {
  readonly sizeBytes: number;
  /** Setting a value removes the former newest of its group; empty: no group. */
  readonly group: string;
}

/** Keyv's envelope; returned without `expires`, by which Keyv would judge the value itself. */
interface KeyvValue {
  value?: SizedValue;
  /** Milliseconds since 1970, wall clock. */
  expires?: number;
}

/** Expiry is on the clock of performance.now(), as the wall clock may be set meanwhile. */
interface Kept {
  value?: SizedValue;
  endsAtMs: number;
}

/**
 * Bytes of an entry beyond its key and its value's own count. Measured as heap and external memory after 100 000 cached
 * responses of 1 kB, less their texts: 750 bytes each, and 1250 per representation, which the value counts (Node 20).
 */
const ENTRY_OVERHEAD_BYTES = 800;
/** A single entry takes at most 1/8 of the bound. */
export const MAX_ENTRY_FRACTION = 8;

/** Process tier for Keyv; bounded in bytes, least recently used evicted first. */
export class MemoryStore {
  private readonly entries: LRUCache<string, Kept>;
  private readonly newest = new Map<string, string>();
  private evictions = 0;

  constructor(maxBytes: number) {
    this.entries = new LRUCache<string, Kept>({
      maxSize: maxBytes,
      maxEntrySize: Math.floor(maxBytes / MAX_ENTRY_FRACTION),
      sizeCalculation: ({ value }, key) =>
        ENTRY_OVERHEAD_BYTES +
        (value?.sizeBytes ?? 0) +
        2 * (key.length + (value?.group.length ?? 0)),
      dispose: ({ value, endsAtMs }, key, reason) => {
        if (reason === 'evict' && !isOver(endsAtMs)) this.evictions += 1;
        if (value && this.newest.get(value.group) === key) this.newest.delete(value.group);
      },
    });
  }

  /** Counts as a use. */
  find(key: string): SizedValue | undefined {
    return this.get(key)?.value;
  }

  get(key: string): KeyvValue | undefined {
    const entry = this.entries.get(key);
    if (entry && isOver(entry.endsAtMs)) this.entries.delete(key);
    else if (entry) return { value: entry.value };
    return undefined;
  }

  set(key: string, { value, expires }: KeyvValue): this {
    const leftMs = expires === undefined ? Infinity : expires - wallClockMs();
    this.keep(key, { value, endsAtMs: performance.now() + leftMs });
    return this;
  }

  private keep(key: string, entry: Kept): void {
    const group = entry.value?.group ?? '';
    const old = group === '' ? undefined : this.newest.get(group);
    if (old !== undefined && old !== key) this.entries.delete(old);
    this.entries.set(key, entry);
    if (group !== '' && this.entries.has(key)) this.newest.set(group, key);
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  delete(key: string): boolean {
    return this.entries.delete(key);
  }

  clear(): void {
    this.entries.clear();
  }

  newestOf(group: string): string | undefined {
    return this.newest.get(group);
  }

  /** Counts a value that has grown; evicts others, or the value itself. */
  resize(key: string): void {
    const entry = this.entries.peek(key);
    if (entry) this.keep(key, { ...entry }); // the same object would keep its old size
  }

  /** @returns the removed keys. */
  removeWhere(test: (key: string) => boolean): string[] {
    const removed = [...this.entries.keys()].filter(test);
    for (const key of removed) this.entries.delete(key);
    return removed;
  }

  /** Present entries and bytes; evictions before expiry since the start. */
  statistics(): { entries: number; bytes: number; evictions: number } {
    const { size, calculatedSize } = this.entries;
    return { entries: size, bytes: calculatedSize, evictions: this.evictions };
  }
}

function isOver(endsAtMs: number): boolean {
  return endsAtMs <= performance.now();
}
