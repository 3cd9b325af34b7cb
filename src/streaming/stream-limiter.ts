import { AppError } from '../errors/app-error';

const RETRY_AFTER_SECONDS = 5;

/** How many streams may run at once. There is no queue: one runs for minutes, so a caller had better come again. */
export class StreamLimiter {
  private running = 0;

  /** `what` names them to those who are refused, as in `exports`. */
  constructor(
    readonly max: number,
    private readonly what: string,
  ) {}

  /** How many run. */
  get active(): number {
    return this.running;
  }

  /**
   * Takes a place and returns what gives it back (once, however often it is called).
   * @throws AppError TOO_MANY_REQUESTS when there is none.
   */
  enter(): () => void {
    if (this.running >= this.max) {
      const message = `${this.max} ${this.what} run already; try again later.`;
      throw new AppError('TOO_MANY_REQUESTS', message, { retryAfterSeconds: RETRY_AFTER_SECONDS });
    }
    this.running += 1;
    let isInside = true;
    return () => {
      if (isInside) this.running -= 1;
      isInside = false;
    };
  }
}
