import { Injectable } from '@nestjs/common';

/** `draining` from the first SIGTERM or SIGINT on. */
type Phase = 'starting' | 'ready' | 'draining';

/** Phase of the process, which decides readiness. The order of a shutdown is in src/shutdown.ts. */
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
   * Calls `listener`, which must not throw, when the shutdown begins. Endless responses end then, as their clients can
   * continue at another replica.
   * @returns a function that removes the listener.
   */
  onDraining(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}
