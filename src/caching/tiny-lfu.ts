/** Share of the bytes for the window, in which new entries wait for a second request. */
const WINDOW_SHARE = 0.01;
/** Share of the other bytes for protected entries, which were used again. */
const PROTECTED_SHARE = 0.8;

interface Node<V> {
  key: string;
  value: V;
  bytes: number;
  segment: Segment<V>;
  older: Node<V> | undefined;
  newer: Node<V> | undefined;
}

/** Segment: a list of entries by last use. */
class Segment<V> {
  oldest: Node<V> | undefined;
  bytes = 0;
  private newest: Node<V> | undefined;

  add(node: Node<V>): void {
    node.segment = this;
    node.older = this.newest;
    node.newer = undefined;
    if (this.newest) this.newest.newer = node;
    else this.oldest = node;
    this.newest = node;
    this.bytes += node.bytes;
  }

  remove(node: Node<V>): void {
    const { older, newer } = node;
    if (older) older.newer = newer;
    else this.oldest = newer;
    if (newer) newer.older = older;
    else this.newest = older;
    this.bytes -= node.bytes;
  }
}

export interface TinyLfuOptions<V> {
  maxBytes: number;
  /** Limit of an entry; larger ones are not stored. */
  maxEntryBytes: number;
  sizeOf: (value: V, key: string) => number;
  /** Returns the expected hits of an entry in a period; 0 for an entry without any worth. */
  worthOf: (value: V) => number;
  onRemove: (value: V, key: string, reason: 'evict' | 'reject' | 'remove') => void;
}

/**
 * Entries bounded in bytes, of which the most valuable stay: W-TinyLFU (Einziger, Friedman, Manes, ACM ToS 2017). New
 * entries pass through a small window, least recently used first. An entry that leaves it takes the place of the least
 * recently used others only if it is worth at least as much as all of them together, so that a large entry has to be
 * worth many small ones (aggregated victims: Einziger, Eytan, Friedman, Manes, ACM ToS 2022). Entries that are used after
 * that are protected from those that are not. Requests for new keys thus evict no entry that is requested repeatedly.
 */
export class TinyLfu<V> {
  private readonly nodes = new Map<string, Node<V>>();
  private readonly window = new Segment<V>();
  private readonly probation = new Segment<V>();
  private readonly protected = new Segment<V>();
  private readonly maxWindowBytes: number;
  private readonly maxMainBytes: number;
  private admitted = 0;
  private rejected = 0;

  constructor(private readonly options: TinyLfuOptions<V>) {
    this.maxWindowBytes = Math.floor(options.maxBytes * WINDOW_SHARE);
    this.maxMainBytes = options.maxBytes - this.maxWindowBytes;
  }

  get size(): number {
    return this.nodes.size;
  }

  get calculatedSize(): number {
    return this.window.bytes + this.mainBytes;
  }

  /** Candidates that took the place of others, and those that were not worth it. */
  get contests(): { admitted: number; rejected: number } {
    return { admitted: this.admitted, rejected: this.rejected };
  }

  keys(): IterableIterator<string> {
    return this.nodes.keys();
  }

  has(key: string): boolean {
    return this.nodes.has(key);
  }

  peek(key: string): V | undefined {
    return this.nodes.get(key)?.value;
  }

  /** Finds a value, which counts as a use. */
  get(key: string): V | undefined {
    const node = this.nodes.get(key);
    if (!node) return undefined;
    this.move(node, node.segment === this.window ? this.window : this.protected);
    this.demote();
    return node.value;
  }

  /** Stores a value if it is worth it; a value that replaces another takes its place. */
  set(key: string, value: V): void {
    const bytes = this.options.sizeOf(value, key);
    const known = this.nodes.get(key);
    if (bytes > this.options.maxEntryBytes) {
      if (known) this.drop(known, 'remove');
    } else if (known) {
      known.segment.remove(known);
      Object.assign(known, { value, bytes });
      known.segment.add(known);
      this.fit();
    } else this.add(key, value, bytes);
  }

  /** Gives the place of an entry to another key, whose value is about to be set. */
  rename(from: string, to: string): void {
    const node = this.nodes.get(from);
    if (!node) return;
    const present = this.nodes.get(to);
    if (present) this.drop(present, 'remove');
    this.nodes.delete(from);
    node.key = to;
    this.nodes.set(to, node);
  }

  delete(key: string): boolean {
    const node = this.nodes.get(key);
    if (node) this.drop(node, 'remove');
    return node !== undefined;
  }

  clear(): void {
    for (const node of [...this.nodes.values()]) this.drop(node, 'remove');
  }

  private get mainBytes(): number {
    return this.probation.bytes + this.protected.bytes;
  }

  private add(key: string, value: V, bytes: number): void {
    const segment = this.window;
    const node: Node<V> = { key, value, bytes, segment, older: undefined, newer: undefined };
    if (bytes <= this.maxWindowBytes) {
      this.nodes.set(key, node);
      segment.add(node);
      this.fit();
    } else if (this.makeRoomFor(node)) {
      this.nodes.set(key, node);
      this.probation.add(node);
    } else this.options.onRemove(value, key, 'reject');
  }

  /** Restores the bounds of all segments. */
  private fit(): void {
    for (let node = this.window.oldest; node && this.window.bytes > this.maxWindowBytes;) {
      if (this.makeRoomFor(node)) this.move(node, this.probation);
      else this.drop(node, 'reject');
      node = this.window.oldest;
    }
    this.demote();
    while (this.mainBytes > this.maxMainBytes) {
      const node = this.probation.oldest ?? this.protected.oldest;
      if (!node) return;
      this.drop(node, 'evict');
    }
  }

  private demote(): void {
    const maxBytes = this.maxMainBytes * PROTECTED_SHARE;
    for (let node = this.protected.oldest; node && this.protected.bytes > maxBytes;) {
      this.move(node, this.probation);
      node = this.protected.oldest;
    }
  }

  /** Evicts the entries in the way of a candidate, unless they are worth more than it. */
  private makeRoomFor(candidate: Node<V>): boolean {
    let missing = this.mainBytes + candidate.bytes - this.maxMainBytes;
    if (missing <= 0) return true;
    const { worthOf } = this.options;
    const victims: Node<V>[] = [];
    let margin = worthOf(candidate.value);
    for (let node = this.firstVictim; node && missing > 0; node = this.victimAfter(node)) {
      margin -= worthOf(node.value);
      victims.push(node);
      if (margin < 0) break;
      missing -= node.bytes;
    }
    if (margin < 0) {
      // The next candidate is compared with others: one valuable entry must not protect many that are not.
      for (const victim of victims) this.move(victim, this.probation);
      this.rejected += 1;
      return false;
    }
    for (const victim of victims) this.drop(victim, 'evict');
    this.admitted += 1;
    return true;
  }

  private get firstVictim(): Node<V> | undefined {
    return this.probation.oldest ?? this.protected.oldest;
  }

  private victimAfter({ newer, segment }: Node<V>): Node<V> | undefined {
    return newer ?? (segment === this.probation ? this.protected.oldest : undefined);
  }

  private move(node: Node<V>, segment: Segment<V>): void {
    node.segment.remove(node);
    segment.add(node);
  }

  private drop(node: Node<V>, reason: 'evict' | 'reject' | 'remove'): void {
    node.segment.remove(node);
    this.nodes.delete(node.key);
    this.options.onRemove(node.value, node.key, reason);
  }
}
