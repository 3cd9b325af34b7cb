import { Injectable } from '@nestjs/common';

/** Where the process is in its life; readiness goes by it. */
@Injectable()
export class Lifecycle {
  /** `starting` until everything is initialised, `draining` from the first SIGTERM on. */
  phase: 'starting' | 'ready' | 'draining' = 'starting';
}
