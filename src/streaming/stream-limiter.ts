import { AppError } from '../platform/errors/app-error';

const RETRY_AFTER_SECONDS = 5;

/** What a holder may have however few places there are: two are too few to divide. */
const FEWEST_OWN = 2;

/**
 * How many streams may run at once. There is no queue: one runs for minutes, so a caller had better come again. A holder
 * has at most half of the places: one whose streams move slowly for ever leaves the rest to the others.
 */
export class StreamLimiter {
  private running = 0;
  private readonly byHolder = new Map<string, number>();
  private readonly maxOwn: number;

  /** `what` names them to those who are refused, as in `exports`. */
  constructor(
    readonly max: number,
    private readonly what: string,
  ) {
    this.maxOwn = Math.max(FEWEST_OWN, Math.ceil(max / 2));
  }

  /** How many run. */
  get active(): number {
    return this.running;
  }

  /**
   * Takes a place for a holder, and returns what gives it back (once, however often it is called).
   * @throws AppError TOO_MANY_REQUESTS when there is none, for anybody or for this holder.
   */
  enter(holder: string): () => void {
    const own = this.byHolder.get(holder) ?? 0;
    if (this.running >= this.max) {
      throw refusal(`${this.max} ${this.what} run already; try again later.`);
    }
    if (own >= this.maxOwn) {
      throw refusal(`This principal has ${own} of ${this.max} ${this.what}; try again later.`);
    }
    this.running += 1;
    this.byHolder.set(holder, own + 1);
    let isInside = true;
    return () => {
      if (isInside) this.leave(holder);
      isInside = false;
    };
  }

  private leave(holder: string): void {
    this.running -= 1;
    const left = (this.byHolder.get(holder) ?? 1) - 1;
    if (left === 0) this.byHolder.delete(holder);
    else this.byHolder.set(holder, left);
  }
}

function refusal(message: string): AppError {
  return new AppError('TOO_MANY_REQUESTS', message, { retryAfterSeconds: RETRY_AFTER_SECONDS });
}
