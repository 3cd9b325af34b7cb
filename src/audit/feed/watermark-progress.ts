import type { LogPosition } from '../read/position';
import type { Watermark } from './watermark';
import { DeliveredPositions, watermarkCursor } from './watermark-cursor';

/** Progress of a feed of many organizations: a watermark, and the positions that were delivered after it. */
export class WatermarkProgress {
  private readonly delivered = new DeliveredPositions();
  private watermark: Watermark = { micros: 0, sum: 0n };
  /** A later watermark, which is reached when the subscriber has taken so many events from the buffer. */
  private upcoming: { watermark: Watermark; events: number } | undefined;

  constructor(private readonly scope: string) {}

  begin(watermark: Watermark): void {
    this.watermark = watermark;
  }

  note(organizationId: string, { sequence, recordedMicros }: LogPosition): void {
    this.delivered.set(organizationId, { sequence, recordedMicros });
  }

  /** Announces a watermark that is reached after the events of the buffer. */
  announce(watermark: Watermark, buffered: number): void {
    if (this.upcoming && buffered > 0) return; // a slow subscriber reaches the earlier watermark first
    this.upcoming = { watermark, events: buffered };
    this.reach();
  }

  /** Counts an event that the subscriber has taken. */
  taken(): void {
    if (!this.upcoming) return;
    this.upcoming.events -= 1;
    this.reach();
  }

  cursor(): string {
    return watermarkCursor(this.scope, this.watermark, this.delivered);
  }

  private reach(): void {
    if (!this.upcoming || this.upcoming.events > 0) return;
    this.watermark = this.upcoming.watermark;
    this.delivered.passed(this.watermark);
    this.upcoming = undefined;
  }
}
