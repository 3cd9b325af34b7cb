import { getHeapStatistics } from 'node:v8';
import type { RecordedEvent } from '../event/event-test';

/** Limit of buffered events, beyond which a subscriber is too slow. Subscribers share the texts. */
export const MAX_BUFFERED_EVENTS = 5000;
export const MAX_BUFFERED_CHARACTERS = 8 * 1024 * 1024;
/** Number of taken events from which the others are copied into a new list. */
const MIN_TAKEN = 16;

/** Events that a subscriber has not taken, limited for each buffer and for all. An overflow drops all events of a buffer. */
export class FeedBuffer {
  private events: RecordedEvent[] = [];
  private at = 0;
  private characters = 0;
  private bytes = 0;
  private isClosed = false;
  private wake: (() => void) | undefined;
  hasOverflowed = false;

  constructor(private readonly memory = ALL_BUFFERS) {}

  add(event: RecordedEvent): void {
    if (this.hasOverflowed || this.isClosed) return;
    if (this.events.length === 0) this.memory.open();
    this.characters += event.text.length;
    this.bytes += bytesOf(event);
    this.events.push(event);
    this.memory.reserve(event);
    if (
      this.events.length - this.at > MAX_BUFFERED_EVENTS ||
      this.characters > MAX_BUFFERED_CHARACTERS ||
      this.memory.isTooMuch(this.bytes)
    ) {
      this.hasOverflowed = true;
      this.drop();
    }
    this.notify();
  }

  /** Number of events. */
  get size(): number {
    return this.events.length - this.at;
  }

  take(): RecordedEvent | undefined {
    const event = this.events[this.at];
    if (!event) return undefined;
    this.characters -= event.text.length;
    this.bytes -= bytesOf(event);
    this.memory.release(event);
    this.at += 1;
    if (this.at === this.events.length) this.drop();
    else if (this.at > MIN_TAKEN && this.at * 2 > this.events.length) {
      // A subscriber that never takes the last event must not retain taken ones.
      this.events = this.events.slice(this.at);
      this.at = 0;
    }
    return event;
  }

  clear(): void {
    this.hasOverflowed = false;
    this.drop();
  }

  close(): void {
    this.isClosed = true;
    this.drop();
    this.notify();
  }

  async changed(): Promise<void> {
    if (this.at < this.events.length || this.hasOverflowed || this.isClosed) return;
    await new Promise<void>((resolve) => {
      this.wake = resolve;
    });
  }

  notify(): void {
    this.wake?.();
    this.wake = undefined;
  }

  private drop(): void {
    if (this.events.length > 0) this.memory.close();
    for (const event of this.events.slice(this.at)) this.memory.release(event);
    this.events = [];
    this.at = 0;
    this.characters = 0;
    this.bytes = 0;
  }
}

const HEAP_SHARE = 1 / 8;
/** Bytes of the objects of an event, without its text. */
const EVENT_BYTES = 1000;

/**
 * Memory of all buffers, in which shared events count once. Beyond the limit, a buffer with more than an equal share
 * overflows at its next event, and others do not: together they never hold more than twice the limit.
 */
export class FeedMemory {
  private readonly holders = new Map<RecordedEvent, number>();
  private reservedBytes = 0;
  private buffers = 0;

  constructor(private readonly limitBytes = getHeapStatistics().heap_size_limit * HEAP_SHARE) {}

  get sizeBytes(): number {
    return this.reservedBytes;
  }

  reserve(event: RecordedEvent): void {
    const count = this.holders.get(event) ?? 0;
    this.holders.set(event, count + 1);
    if (count === 0) this.reservedBytes += bytesOf(event);
  }

  release(event: RecordedEvent): void {
    const count = this.holders.get(event) ?? 0;
    if (count > 1) this.holders.set(event, count - 1);
    else if (this.holders.delete(event)) this.reservedBytes -= bytesOf(event);
  }

  open(): void {
    this.buffers += 1;
  }

  close(): void {
    this.buffers -= 1;
  }

  isTooMuch(ownBytes: number): boolean {
    return this.reservedBytes > this.limitBytes && ownBytes > this.limitBytes / this.buffers;
  }
}

/** Estimates the bytes of an event; a character may have two. */
function bytesOf({ text }: RecordedEvent): number {
  return EVENT_BYTES + 2 * text.length;
}

const ALL_BUFFERS = new FeedMemory();
