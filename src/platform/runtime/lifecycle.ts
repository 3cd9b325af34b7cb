import { Injectable } from '@nestjs/common';

/** `starting` until everything is initialised, `draining` from the first SIGTERM on. */
export type Phase = 'starting' | 'ready' | 'draining';

/** Where the process is in its life; readiness goes by it. */
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
   * Calls `listener` when the process is told to stop: for answers that would go on for ever, which their clients can
   * ask another replica for. Gives back what ends that. Listeners do not throw.
   */
  onDraining(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}
