/** A read that is still to begin. */
interface Pending<T> {
  promise: Promise<T>;
  resolve: (found: T) => void;
  reject: (error: unknown) => void;
}

/**
 * Shares one read among all who ask for it in one turn of the event loop, and among all who ask while one is under way:
 * those get the next. Never more than one runs, and nobody gets what a read found that began before it was asked for, so
 * every answer is as new as a read of one's own. A read that fails rejects those who shared it, and nobody else.
 */
export class CoalescedRead<T> {
  private next: Pending<T> | undefined;
  private isRunning = false;

  constructor(private readonly read: () => Promise<T>) {}

  /** What the next read finds. */
  join(): Promise<T> {
    if (this.next === undefined) {
      this.next = pending<T>();
      if (!this.isRunning) this.schedule();
    }
    return this.next.promise;
  }

  /**
   * At the end of the next turn of the event loop: whatever arrived with this turn and the next shares the read. A second
   * turn takes microseconds when there is little to do; with 64 clients it made a cached answer 5 of 32 µs cheaper.
   */
  private schedule(): void {
    setImmediate(() => setImmediate(() => this.begin()));
  }

  private begin(): void {
    const { next } = this;
    if (next === undefined) return;
    this.next = undefined;
    this.isRunning = true;
    const proceed = (): void => {
      this.isRunning = false;
      if (this.next !== undefined) this.schedule();
    };
    this.read().then(next.resolve, next.reject).then(proceed, proceed);
  }
}

function pending<T>(): Pending<T> {
  const settle: Partial<Pending<T>> = {};
  const promise = new Promise<T>((resolve, reject) => Object.assign(settle, { resolve, reject }));
  return { ...settle, promise } as Pending<T>;
}
