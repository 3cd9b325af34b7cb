interface Pending<T> {
  promise: Promise<T>;
  resolve: (found: T) => void;
  reject: (error: unknown) => void;
}

/**
 * Shares a read among callers of one cycle of the event loop; callers during it share the next. No read begins before
 * its callers' calls, so results are as fresh as of separate reads. A failure rejects its callers only.
 */
export class CoalescedRead<T> {
  private next: Pending<T> | undefined;
  private isRunning = false;

  constructor(private readonly read: () => Promise<T>) {}

  join(): Promise<T> {
    if (this.next === undefined) {
      this.next = pending<T>();
      if (!this.isRunning) this.schedule();
    }
    return this.next.promise;
  }

  /**
   * Begins in the second next cycle of the event loop, which both share: with 64 clients a cached response took 5 of 32
   * µs less, and an idle loop takes microseconds.
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
