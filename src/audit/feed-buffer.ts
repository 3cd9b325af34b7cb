import type { RecordedEvent } from './feed-event';

/** Events that wait for one subscriber; beyond either, it reads too slowly. Their texts are shared by all. */
export const MAX_BUFFERED_EVENTS = 5000;
export const MAX_BUFFERED_CHARACTERS = 8 * 1024 * 1024;
/** Fewer that have been taken are not worth a copy of the others. */
const MIN_TAKEN = 16;

/** What has come for a subscriber and is not taken yet. Bounded: what is more makes it overflow, and nothing is kept. */
export class FeedBuffer {
  private events: RecordedEvent[] = [];
  private at = 0;
  private characters = 0;
  private wake: (() => void) | undefined;
  hasOverflowed = false;

  add(event: RecordedEvent): void {
    if (this.hasOverflowed) return;
    this.characters += event.text.length;
    this.events.push(event);
    if (
      this.events.length - this.at > MAX_BUFFERED_EVENTS ||
      this.characters > MAX_BUFFERED_CHARACTERS
    ) {
      this.hasOverflowed = true;
      this.drop();
    }
    this.stir();
  }

  /** The oldest event, if there is one. */
  take(): RecordedEvent | undefined {
    const event = this.events[this.at];
    if (!event) return undefined;
    this.characters -= event.text.length;
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

  /** Resolves when something has been added, or `stir` is called. */
  async changed(): Promise<void> {
    if (this.at < this.events.length || this.hasOverflowed) return;
    await new Promise<void>((resolve) => {
      this.wake = resolve;
    });
  }

  /** Ends a wait. */
  stir(): void {
    this.wake?.();
    this.wake = undefined;
  }

  private drop(): void {
    this.events = [];
    this.at = 0;
    this.characters = 0;
  }
}
