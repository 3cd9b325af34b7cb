/** Above this part of its time the event loop has no room for more work at once: it would only wait in the loop. */
export const BUSY = 0.9;
/** Below this there is room again. Between the two nothing changes, so that the limit comes to rest. */
const FREE = 0.7;
/** While one waits for PostgreSQL, another one is worked at. */
const LEAST = 2;

/**
 * How much may run at once of what is short: all of it as long as the event loop has time, less when it has not. Halved
 * while the loop is busy and raised by one while it is not (additive increase, multiplicative decrease, as TCP does,
 * https://www.rfc-editor.org/rfc/rfc5681#section-3.1). What runs beyond what one thread can work at makes nothing
 * quicker, but everybody waits behind it, whoever's it is.
 */
export class AimdLimit {
  private limit: number;

  /** @param most what may run at once when there is time for it. */
  constructor(private readonly most: number) {
    this.limit = most;
  }

  /** What may run at once from now on, when the loop was busy for this part (0 to 1) of the time since the last call. */
  next(utilization: number): number {
    if (utilization > BUSY) this.limit = Math.max(LEAST, Math.floor(this.limit / 2));
    else if (utilization < FREE) this.limit += 1;
    this.limit = Math.min(this.most, this.limit);
    return this.limit;
  }
}
