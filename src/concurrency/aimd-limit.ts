/** Utilization of the event loop above which the limit is halved. */
export const BUSY = 0.9;
/** Utilization below which it rises. Between the two nothing changes, so that the limit comes to rest. */
const FREE = 0.7;
/** While one waits for PostgreSQL, the other one uses the event loop. */
const MIN_LIMIT = 2;

/**
 * Additive increase, multiplicative decrease (https://www.rfc-editor.org/rfc/rfc5681#section-3.1) of concurrent work:
 * more than one thread can do speeds up nothing and delays every flow.
 */
export class AimdLimit {
  private limit: number;

  /** @param max the limit while the loop has time. */
  constructor(private readonly max: number) {
    this.limit = max;
  }

  /** Returns the new limit by the event loop's utilization (0 to 1) since the last call. */
  next(utilization: number): number {
    if (utilization > BUSY) this.limit = Math.max(MIN_LIMIT, Math.floor(this.limit / 2));
    else if (utilization < FREE) this.limit += 1;
    this.limit = Math.min(this.max, this.limit);
    return this.limit;
  }
}
