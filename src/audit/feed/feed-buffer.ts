import type { RecordedEvent } from './feed-event';
import { bytesOf, FeedMemory } from './feed-memory';

/** Events that wait for one subscriber; beyond either, it reads too slowly. Their texts are shared by all. */
export const MAX_BUFFERED_EVENTS = 5000;
export const MAX_BUFFERED_CHARACTERS = 8 * 1024 * 1024;
/** Fewer that have been taken are not worth a copy of the others. */
const MIN_TAKEN = 16;

/** What all buffers of this process hold. */
const MEMORY = new FeedMemory();

/** What has come for a subscriber and is not taken yet. Bounded, by itself and with all others: what is more makes it overflow, and nothing is kept. */
export class FeedBuffer {
  private events: RecordedEvent[] = [];
  private at = 0;
  private characters = 0;
  private bytes = 0;
  private isClosed = false;
  private wake: (() => void) | undefined;
  hasOverflowed = false;

  constructor(private readonly memory = MEMORY) {}

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

  /** The oldest event, if there is one. */
  take(): RecordedEvent | undefined {
    const event = this.events[this.at];
    if (!event) return undefined;
    this.characters -= event.text.length;
    this.bytes -= bytesOf(event);
    this.memory.release(event);
    this.at += 1;
    if (this.at === this.events.length) this.drop();
    else if (this.at > MIN_TAKEN && this.at * 2 > this.events.length) {
      // Of a reader that never quite catches up: what it has taken is not held on to, or only as much as still waits.
      this.events = this.events.slice(this.at);
      this.at = 0;
    }
    return event;
  }

  /** Begins anew, with nothing in it. */
  clear(): void {
    this.hasOverflowed = false;
    this.drop();
  }

  /** Lets go of everything for good. */
  close(): void {
    this.isClosed = true;
    this.drop();
    this.notify();
  }

  /** Resolves when something has been added, or `stir` is called. */
  async changed(): Promise<void> {
    if (this.at < this.events.length || this.hasOverflowed || this.isClosed) return;
    await new Promise<void>((resolve) => {
      this.wake = resolve;
    });
  }

  /** Ends a wait. */
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
