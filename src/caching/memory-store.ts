import { LRUCache } from 'lru-cache';
import { wallClockMs } from '../platform/runtime/clocks';
import type { Demand, DemandEstimator } from './demand-estimator';
import { TinyLfu } from './tiny-lfu';

export interface SizedValue {
  readonly sizeBytes: number;
  /** Group of entries, of which a new one replaces the newest; empty for none. */
  readonly group: string;
  /** Demand for the value, if its worth is estimated. */
  readonly demand?: Demand | undefined;
}

/** Envelope of Keyv; returned without `expires`, as Keyv would check that by the wall clock. */
interface KeyvValue {
  value?: SizedValue;
  /** Milliseconds since 1970, by the wall clock. */
  expires?: number;
}

/** Stored value; `endsAtMs` is on the clock of performance.now(), as the wall clock may be set. */
interface Kept {
  value?: SizedValue;
  endsAtMs: number;
}

/**
 * Bytes of an entry beside its key and the size of its value. Measured as heap and external memory after 100 000 cached
 * responses of 1 kB, less their texts: 750 bytes each, and 1250 per rendered response, which the value counts (Node 20).
 */
const ENTRY_OVERHEAD_BYTES = 800;
/** Divisor of the bound that gives the limit of an entry. */
export const MAX_ENTRY_FRACTION = 8;

/** Common part of both ways to choose entries for eviction. */
interface Entries {
  readonly size: number;
  readonly calculatedSize: number;
  get(key: string): Kept | undefined;
  peek(key: string): Kept | undefined;
  set(key: string, kept: Kept): unknown;
  has(key: string): boolean;
  delete(key: string): boolean;
  clear(): void;
  keys(): IterableIterator<string>;
}

/**
 * Process tier for Keyv, bounded in bytes. The least recently used entries are evicted first; with an estimator those of
 * the least worth (TinyLfu).
 */
export class MemoryStore {
  private readonly entries: Entries;
  /** The same entries, if their worth decides. */
  private readonly byWorth: TinyLfu<Kept> | undefined;
  private readonly newest = new Map<string, string>();
  private evictions = 0;

  constructor(
    maxBytes: number,
    private readonly estimator?: DemandEstimator,
  ) {
    const maxEntryBytes = Math.floor(maxBytes / MAX_ENTRY_FRACTION);
    const sizeOf = ({ value }: Kept, key: string): number =>
      ENTRY_OVERHEAD_BYTES +
      (value?.sizeBytes ?? 0) +
      2 * (key.length + (value?.group.length ?? 0));
    const onRemove = ({ value, endsAtMs }: Kept, key: string, reason: string): void => {
      if (reason === 'evict' && !isOver(endsAtMs)) this.evictions += 1;
      if (value && this.newest.get(value.group) === key) this.newest.delete(value.group);
    };
    if (estimator) {
      const worthOf = ({ value, endsAtMs }: Kept): number =>
        isOver(endsAtMs) || !value?.demand ? 0 : estimator.worth(value.demand, performance.now());
      this.byWorth = new TinyLfu({ maxBytes, maxEntryBytes, sizeOf, worthOf, onRemove });
    }
    this.entries =
      this.byWorth ??
      new LRUCache<string, Kept>({
        maxSize: maxBytes,
        maxEntrySize: maxEntryBytes,
        sizeCalculation: sizeOf,
        dispose: onRemove,
      });
  }

  /** Finds a value, which counts as a use. */
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
    if (old !== undefined && old !== key) {
      if (this.byWorth) this.replace(this.byWorth, group, old, key);
      else this.entries.delete(old);
    }
    this.entries.set(key, entry);
    this.estimator?.fitTo(this.entries.size);
    if (group !== '' && this.entries.has(key)) this.newest.set(group, key);
  }

  /** Gives an entry the place of its group's older one, so that popularity survives a commit. */
  private replace(entries: TinyLfu<Kept>, group: string, old: string, key: string): void {
    this.newest.delete(group);
    entries.rename(old, key);
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

  /** Measures a value again that has grown; evicts others, or the value itself. */
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

  /** Present entries and bytes, and evictions before expiry since the start. */
  statistics(): { entries: number; bytes: number; evictions: number } {
    const { size, calculatedSize } = this.entries;
    return { entries: size, bytes: calculatedSize, evictions: this.evictions };
  }

  /** Candidates that took the place of others since the start, and those that were not worth it. */
  contests(): { admitted: number; rejected: number } {
    return this.byWorth?.contests ?? { admitted: 0, rejected: 0 };
  }
}

function isOver(endsAtMs: number): boolean {
  return endsAtMs <= performance.now();
}
