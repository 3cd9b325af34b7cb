import { type BeforeApplicationShutdown, Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { concurrencyConfig } from '../platform/config/concurrency.config';
import { SMALL_BYTES } from '../http/body-memory-limiter';
import { FairTurns, type TurnRequest } from './fair-scheduler';
import { hasLargeTurn, type LanedRequest, noteLargeTurn } from './flow';
import { RunningTurns } from './in-flight';

/** Two that are written (AuditWriter), and one that is made ready for it. */
const AT_ONCE = 3;
/** How often it is looked whether some take long. */
const LOOK_EVERY_MS = 100;

/** Whose body it is, how many bytes, and until when somebody waits. */
export interface BodyTurn {
  bytes: number;
  lane: string;
  signal: AbortSignal;
}

/**
 * Turns for requests with large bodies, before their turns to work. What is made of such a body takes several times the
 * room of its bytes and milliseconds of the event loop: few are worked at, and the others wait as bytes, without keeping
 * anybody else from a turn to work (docs/adr/0027-few-large-bodies-at-once.md). Those that take long do not count, as they
 * wait for PostgreSQL, maybe for a lock that concerns nobody else. As many may be here as may work and wait in all.
 */
@Injectable()
export class LargeTurns extends FairTurns implements BeforeApplicationShutdown {
  private readonly running = new RunningTurns();
  private readonly looking = setInterval(() => this.look(), LOOK_EVERY_MS).unref();
  private readonly atOnce: number;
  private readonly most: number;

  constructor(@Inject(concurrencyConfig.KEY) config: ConfigType<typeof concurrencyConfig>) {
    const { maxRequests, enableQueue, queueSize } = config;
    const atOnce = Math.min(AT_ONCE, maxRequests);
    const waiting = maxRequests - atOnce + (enableQueue ? queueSize : 0);
    super({ ...config, maxRequests: atOnce, queueSize: waiting, enableQueue: true });
    this.atOnce = atOnce;
    this.most = maxRequests;
  }

  override run<T>(turn: TurnRequest, work: () => Promise<T>): Promise<T> {
    return super.run(turn, () => this.running.during(work));
  }

  /**
   * Does what is to be done with the body of a request, whose length is in bytes: of a large one when it is its turn, which
   * is noted on the request (laneOfRequest). A request has one such turn, however many of its parts ask for it.
   * @throws what `run` and `work` throw.
   */
  async workAt<T>(
    request: LanedRequest,
    { bytes, lane, signal }: BodyTurn,
    work: () => Promise<T>,
  ): Promise<T> {
    if (bytes <= SMALL_BYTES || hasLargeTurn(request)) return work();
    return this.run({ lane, signal, isTold: true }, () => {
      noteLargeTurn(request);
      return work();
    });
  }

  beforeApplicationShutdown(): void {
    clearInterval(this.looking);
  }

  private look(): void {
    this.resize(Math.min(this.most, this.atOnce + this.running.countLong()));
  }
}
