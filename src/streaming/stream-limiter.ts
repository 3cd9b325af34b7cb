import { AppError } from '../platform/errors/app-error';
import { Quota } from '../platform/runtime/quota';

const RETRY_AFTER_SECONDS = 5;

/** Minimum of an owner: two are too few to divide. */
const MIN_OWN = 2;

/**
 * Limit without a queue, as a stream runs for minutes. An owner has at most half, so that slow streams leave the rest
 * to others.
 */
export class StreamLimiter {
  private readonly streams: Quota;

  /** @param what names the streams in refusals, as in `exports`. */
  constructor(
    readonly max: number,
    private readonly what: string,
  ) {
    this.streams = new Quota(max, Math.max(MIN_OWN, Math.ceil(max / 2)));
  }

  get active(): number {
    return this.streams.taken;
  }

  /**
   * Acquires a slot; the returned function releases it, once.
   * @throws AppError TOO_MANY_REQUESTS when too many run, of all owners or of this one.
   */
  acquire(owner: string): () => void {
    const release = this.streams.lease(owner);
    if (release) return release;
    const message =
      this.active >= this.max
        ? `${this.max} ${this.what} run already; try again later.`
        : `This principal has ${this.streams.takenBy(owner)} of ${this.max} ${this.what}; try again later.`;
    throw new AppError('TOO_MANY_REQUESTS', message, { retryAfterSeconds: RETRY_AFTER_SECONDS });
  }
}
