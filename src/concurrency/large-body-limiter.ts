import {
  type CallHandler,
  type ExecutionContext,
  Inject,
  Injectable,
  type NestInterceptor,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { ServerResponse } from 'node:http';
import type { Observable } from 'rxjs';
import { concurrencyConfig, serverConfig } from '../platform/config/settings';
import { SMALL_BODY_BYTES } from '../http/body-memory-limiter';
import { type BodyRequest, RAW_BODY } from '../http/body-reader';
import { requestSignal } from '../http/request-context';
import { EventLoopPressure } from './event-loop-pressure';
import { InFlight } from './in-flight';
import {
  flowOfRequest,
  type FlowRequest,
  HAS_LARGE_BODY_PERMIT,
  withPermit,
} from './fair-scheduler';
import { PermitPool } from './permit-pool';

/** Three large bodies: AuditWriter writes two, while a third is parsed. */
const MAX_AT_ONCE = 3;

/** Body of a request, which waits in `flow` until `signal` aborts. */
interface BodyPermit {
  bytes: number;
  flow: string;
  signal: AbortSignal;
}

/**
 * Permits for large bodies, before the permits to work. Parsing takes several times the memory of a body, and milliseconds
 * of the event loop: few bodies are parsed at once, and others wait as bytes (docs/adr/0027-few-large-bodies-at-once.md).
 * Long work does not count, as it waits for PostgreSQL, perhaps for the lock of one organization.
 */
@Injectable()
export class LargeBodyLimiter {
  readonly permits: PermitPool;
  private readonly running = new InFlight();

  constructor(
    @Inject(concurrencyConfig.KEY) config: ConfigType<typeof concurrencyConfig>,
    pressure: EventLoopPressure,
  ) {
    const { maxRequests, enableQueue, queueSize, queueTimeoutMs } = config;
    const max = Math.min(MAX_AT_ONCE, maxRequests);
    const waiting = maxRequests - max + (enableQueue ? queueSize : 0);
    this.permits = new PermitPool({ max, queueSize: waiting, queueTimeoutMs });
    pressure.onSample(() => {
      this.permits.resize(Math.min(maxRequests, max + this.running.countLong()));
    });
  }

  /**
   * Runs `work` on a body; for a large body with a permit, which marks the request (flowOfRequest).
   * @throws as PermitPool.run.
   */
  async run<T>(
    request: FlowRequest,
    { bytes, flow, signal }: BodyPermit,
    work: () => Promise<T>,
  ): Promise<T> {
    if (bytes <= SMALL_BODY_BYTES || request[HAS_LARGE_BODY_PERMIT]) return work();
    return this.permits.run({ flow, signal, isNotified: true }, () => {
      request[HAS_LARGE_BODY_PERMIT] = true;
      return this.running.count(work);
    });
  }
}

/** Waits for a large-body permit between BodyBytesInterceptor, which reads the bytes, and @LimitConcurrency(). */
@Injectable()
export class LargeBodyInterceptor implements NestInterceptor {
  constructor(
    private readonly limiter: LargeBodyLimiter,
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const http = context.switchToHttp();
    const request = http.getRequest<BodyRequest & FlowRequest>();
    const body = {
      bytes: request[RAW_BODY]?.length ?? 0,
      flow: flowOfRequest(request),
      signal: requestSignal(http.getResponse<ServerResponse>(), this.config.requestTimeoutMs),
    };
    return withPermit((work) => this.limiter.run(request, body, work), next);
  }
}
