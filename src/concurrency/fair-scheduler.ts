import {
  applyDecorators,
  type CallHandler,
  type CanActivate,
  type ExecutionContext,
  Inject,
  Injectable,
  type NestInterceptor,
  UseGuards,
  UseInterceptors,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { ServerResponse } from 'node:http';
import { defer, lastValueFrom, type Observable } from 'rxjs';
import { type Identity, principalKey } from '../auth/principal';
import { concurrencyConfig, serverConfig } from '../platform/config/settings';
import { requestSignal } from '../http/request-context';
import { PermitPool, type PermitRequest, type PermitStatistics } from './permit-pool';

/** Part of a principal that decides its flow. */
export interface FlowOwner extends Identity {
  organizations: readonly string[] | '*';
}

/** Set on a request with a permit of LargeBodyLimiter; calls of a batch share the permit of their request. */
export const HAS_LARGE_BODY_PERMIT = Symbol('has a permit for a large body');

export interface FlowRequest {
  principal?: FlowOwner;
  [HAS_LARGE_BODY_PERMIT]?: boolean;
}

/**
 * Organization's flow; for several or all organizations one of the subject's own, as no single organization should wait
 * for such requests.
 */
export function flowKey(owner: FlowOwner): string {
  const { organizations } = owner;
  if (organizations !== '*' && organizations.length === 1) return `org:${organizations[0]}`;
  return `sub:${principalKey(owner)}`;
}

/**
 * Requests with a large-body permit have a second flow: others wait for that permit, and should not wait for a thousand
 * reads before it.
 */
export function flowOfRequest(request: FlowRequest): string {
  const flow = request.principal ? flowKey(request.principal) : '';
  return request[HAS_LARGE_BODY_PERMIT] ? largeBodyFlow(flow) : flow;
}

function largeBodyFlow(flow: string): string {
  return `large ${flow}`;
}

/**
 * Permits to handle requests of all adapters: CONCURRENCY_MAX_REQUESTS at once, the others wait in their organization's
 * flow.
 */
@Injectable()
export class FairScheduler {
  readonly permits: PermitPool;
  private readonly maxRequests: number;

  constructor(@Inject(concurrencyConfig.KEY) config: ConfigType<typeof concurrencyConfig>) {
    const { maxRequests, enableQueue, queueSize, queueTimeoutMs } = config;
    this.maxRequests = maxRequests;
    this.permits = new PermitPool({
      max: maxRequests,
      queueSize: enableQueue ? queueSize : 0,
      queueTimeoutMs,
    });
  }

  /** @throws AppError TOO_MANY_REQUESTS when a request of this flow could not even wait. */
  assertCapacity(flow: string): void {
    this.permits.assertCapacity(flow);
  }

  /** Runs `work` with a permit. @throws as PermitPool.run. */
  run<T>(request: PermitRequest, work: () => Promise<T>): Promise<T> {
    return this.permits.run(request, work);
  }

  /** Adds as many permits to CONCURRENCY_MAX_REQUESTS as requests hold that wait for another server. */
  setExtraPermits(count: number): void {
    this.permits.resize(this.maxRequests + count);
  }

  statistics(): PermitStatistics {
    return this.permits.statistics();
  }

  /** Percent of CONCURRENCY_MAX_REQUESTS in this holder's flows; discloses no other holder's load. */
  utilizationOf(holder: FlowOwner): number {
    const flow = flowKey(holder);
    const held = this.permits.heldBy(flow) + this.permits.heldBy(largeBodyFlow(flow));
    return (100 * held) / this.maxRequests;
  }
}

/** Refuses a request before its body is read when the queue is full. */
@Injectable()
export class ConcurrencyGuard implements CanActivate {
  constructor(private readonly scheduler: FairScheduler) {}

  canActivate(context: ExecutionContext): boolean {
    const { principal } = context.switchToHttp().getRequest<FlowRequest>();
    this.scheduler.assertCapacity(principal ? flowKey(principal) : '');
    return true;
  }
}

/** Runs pipes and handler with a permit, until REQUEST_TIMEOUT_MS or the client's disconnect. */
@Injectable()
export class ConcurrencyInterceptor implements NestInterceptor {
  constructor(
    private readonly scheduler: FairScheduler,
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const http = context.switchToHttp();
    const signal = requestSignal(http.getResponse<ServerResponse>(), this.config.requestTimeoutMs);
    const flow = flowOfRequest(http.getRequest<FlowRequest>());
    return withPermit((work) => this.scheduler.run({ flow, signal }, work), next);
  }
}

/** Runs the rest of an interceptor chain by `run`. */
export function withPermit(
  run: (work: () => Promise<unknown>) => Promise<unknown>,
  next: CallHandler,
): Observable<unknown> {
  return defer(() => run(() => lastValueFrom(next.handle(), { defaultValue: undefined })));
}

/**
 * Permit, deadline, and refusal at once when the queue is full. Above the interceptors that read the body, so that a
 * slow sender holds no permit.
 */
export function LimitConcurrency(): MethodDecorator {
  return applyDecorators(UseGuards(ConcurrencyGuard), UseInterceptors(ConcurrencyInterceptor));
}
