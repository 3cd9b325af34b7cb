import { AppError } from '../platform/errors/app-error';
import { Quota } from '../platform/runtime/quota';

const RETRY_AFTER_SECONDS = 5;

/** Streams that one owner may have however small the maximum is: two are too few to divide. */
const MIN_OWN = 2;

/**
 * A limit of streams that run at once. There is no queue: a stream runs for minutes, so a caller had better come again. An
 * owner has at most half of them: one whose streams move slowly for ever leaves the rest to the others.
 */
export class StreamLimiter {
  private readonly streams: Quota;

  /** `what` names them to callers that are refused, as in `exports`. */
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
   * Begins a stream of an owner, and returns what ends it (once, however often it is called).
   * @throws AppError TOO_MANY_REQUESTS when too many run, of all owners or of this one.
   */
  enter(owner: string): () => void {
    const end = this.streams.lease(owner);
    if (end) return end;
    const message =
      this.active >= this.max
        ? `${this.max} ${this.what} run already; try again later.`
        : `This principal has ${this.streams.takenBy(owner)} of ${this.max} ${this.what}; try again later.`;
    throw new AppError('TOO_MANY_REQUESTS', message, { retryAfterSeconds: RETRY_AFTER_SECONDS });
  }
}
