import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { concurrencyConfig } from '../config/concurrency.config';
import { FairTurns } from './fair-turns';

/** Two that are written (AuditWriter), and one that is made ready for it. */
const AT_ONCE = 3;

/**
 * Turns for requests with large bodies, before their turns to work. What is made of such a body takes several times the
 * room of its bytes and milliseconds of the event loop: few are worked at, and the others wait as bytes, without keeping
 * anybody else from a turn to work (docs/adr/0027-few-large-bodies-at-once.md). As many may be here as may work and wait
 * in all.
 */
@Injectable()
export class LargeTurns extends FairTurns {
  constructor(@Inject(concurrencyConfig.KEY) config: ConfigType<typeof concurrencyConfig>) {
    const { maxRequests, enableQueue, queueSize } = config;
    const atOnce = Math.min(AT_ONCE, maxRequests);
    const waiting = maxRequests - atOnce + (enableQueue ? queueSize : 0);
    super({ ...config, maxRequests: atOnce, queueSize: waiting, enableQueue: true });
  }
}
