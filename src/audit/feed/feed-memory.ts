import { getHeapStatistics } from 'node:v8';
import type { RecordedEvent } from './feed-event';

/** Of the heap, what waits in all buffers of subscribers. */
const HEAP_SHARE = 1 / 8;
/** Bytes of an event beside its text: objects, and what filters look at. */
const EVENT_BYTES = 1000;

/**
 * What waits for all subscribers together, in bytes. An event that waits for several counts once, as they share it.
 * Beyond the limit a buffer that holds more than an equal share overflows with the next event that it is given. Buffers
 * that are given none keep what they have, so at most twice the limit is held: what they had within it, and the shares
 * of the others.
 */
export class FeedMemory {
  private readonly holders = new Map<RecordedEvent, number>();
  private reservedBytes = 0;
  private buffers = 0;

  constructor(private readonly limitBytes = getHeapStatistics().heap_size_limit * HEAP_SHARE) {}

  /** What is held right now, in bytes. */
  get sizeBytes(): number {
    return this.reservedBytes;
  }

  /** Counts an event for one more buffer. */
  reserve(event: RecordedEvent): void {
    const count = this.holders.get(event) ?? 0;
    this.holders.set(event, count + 1);
    if (count === 0) this.reservedBytes += bytesOf(event);
  }

  /** Takes back one `hold`. */
  release(event: RecordedEvent): void {
    const count = this.holders.get(event) ?? 0;
    if (count > 1) this.holders.set(event, count - 1);
    else if (this.holders.delete(event)) this.reservedBytes -= bytesOf(event);
  }

  /** Notes that a buffer has begun to hold something. */
  open(): void {
    this.buffers += 1;
  }

  /** Notes that a buffer holds nothing any more. */
  close(): void {
    this.buffers -= 1;
  }

  /** Whether a buffer with so many bytes holds more than there is room for. */
  isTooMuch(ownBytes: number): boolean {
    return this.reservedBytes > this.limitBytes && ownBytes > this.limitBytes / this.buffers;
  }
}

/** What an event takes in memory; characters may have two bytes. */
export function bytesOf({ text }: RecordedEvent): number {
  return EVENT_BYTES + 2 * text.length;
}
