import { AppError } from '../errors/app-error';

const RETRY_AFTER_SECONDS = 5;

/** How many streams may run at once. There is no queue: one runs for minutes, so a caller had better come again. */
export class StreamLimiter {
  private running = 0;
  private readonly byHolder = new Map<string, number>();

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
   * Takes a place and returns what gives it back (once, however often it is called). A named holder has at most half of
   * them.
   * @throws AppError TOO_MANY_REQUESTS when there is none.
   */
  enter(holder?: string): () => void {
    const own = holder === undefined ? 0 : (this.byHolder.get(holder) ?? 0);
    if (this.running >= this.max || own >= Math.ceil(this.max / 2)) {
      const message = `${this.max} ${this.what} run already; try again later.`;
      throw new AppError('TOO_MANY_REQUESTS', message, { retryAfterSeconds: RETRY_AFTER_SECONDS });
    }
    this.running += 1;
    if (holder !== undefined) this.byHolder.set(holder, own + 1);
    let isInside = true;
    return () => {
      if (isInside) this.leave(holder);
      isInside = false;
    };
  }

  private leave(holder: string | undefined): void {
    this.running -= 1;
    if (holder === undefined) return;
    const left = (this.byHolder.get(holder) ?? 1) - 1;
    if (left === 0) this.byHolder.delete(holder);
    else this.byHolder.set(holder, left);
  }
}
