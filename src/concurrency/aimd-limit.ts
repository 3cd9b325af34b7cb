/** Utilization of the event loop above which it has no time for more work at once. */
export const BUSY = 0.9;
/** Utilization below which it has time again. Between the two nothing changes, so that the limit comes to rest. */
const FREE = 0.7;
/** While one waits for PostgreSQL, the other one uses the event loop. */
const MIN_LIMIT = 2;

/**
 * A limit of work at once: halved while the event loop is busy, raised by one while it is not (additive increase,
 * multiplicative decrease, as TCP does, https://www.rfc-editor.org/rfc/rfc5681#section-3.1). More work than one thread can
 * do makes nothing quicker, and everything waits for it, whatever its flow.
 */
export class AimdLimit {
  private limit: number;

  /** @param max the limit while the loop has time. */
  constructor(private readonly max: number) {
    this.limit = max;
  }

  /** The limit from now on, after the loop was busy for this part (0 to 1) of the time since the last call. */
  next(utilization: number): number {
    if (utilization > BUSY) this.limit = Math.max(MIN_LIMIT, Math.floor(this.limit / 2));
    else if (utilization < FREE) this.limit += 1;
    this.limit = Math.min(this.max, this.limit);
    return this.limit;
  }
}
