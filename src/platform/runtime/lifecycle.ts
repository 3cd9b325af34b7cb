import { Injectable } from '@nestjs/common';

/** `starting` until everything is initialised, `draining` from the first SIGTERM on. */
type Phase = 'starting' | 'ready' | 'draining';

/** The phase of the process; readiness goes by it. */
@Injectable()
export class Lifecycle {
  private current: Phase = 'starting';
  private readonly listeners = new Set<() => void>();

  get phase(): Phase {
    return this.current;
  }

  set phase(phase: Phase) {
    const wasDraining = this.current === 'draining';
    this.current = phase;
    if (phase === 'draining' && !wasDraining) for (const listener of this.listeners) listener();
  }

  /**
   * Calls `listener`, which must not throw, when the process begins to stop: for endless responses, whose clients can
   * go on at another replica.
   * @returns what removes the listener.
   */
  onDraining(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}
