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

/** Key of the mark of a request with a permit of LargeBodyLimiter; the calls of a batch share that permit. */
export const HAS_LARGE_BODY_PERMIT = Symbol('has a permit for a large body');

export interface FlowRequest {
  principal?: FlowOwner;
  [HAS_LARGE_BODY_PERMIT]?: boolean;
}

/**
 * Returns the flow of a principal: of its organization, or, for several or all organizations, of the subject, so that no
 * single organization waits for such requests.
 */
export function flowKey(owner: FlowOwner): string {
  const { organizations } = owner;
  if (organizations !== '*' && organizations.length === 1) return `org:${organizations[0]}`;
  return `sub:${principalKey(owner)}`;
}

/**
 * Returns the flow of a request. A request with a large-body permit has a flow apart: other requests wait for its permit,
 * and should not wait for a thousand reads before it.
 */
export function flowOfRequest(request: FlowRequest): string {
  const flow = request.principal ? flowKey(request.principal) : '';
  return request[HAS_LARGE_BODY_PERMIT] ? largeBodyFlow(flow) : flow;
}

function largeBodyFlow(flow: string): string {
  return `large ${flow}`;
}

/**
 * Permits to handle requests, for all adapters: CONCURRENCY_MAX_REQUESTS run at once, and others wait in the flow of
 * their organization.
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

  /** @throws AppError TOO_MANY_REQUESTS when the queue has no place for a request of this flow. */
  assertCapacity(flow: string): void {
    this.permits.assertCapacity(flow);
  }

  /** Runs `work` with a permit, which it may release before its end. @throws as PermitPool.run. */
  run<T>(request: PermitRequest, work: (release: () => void) => Promise<T>): Promise<T> {
    return this.permits.run(request, work);
  }

  /** Adds a permit to CONCURRENCY_MAX_REQUESTS for each one whose request waits for another server. */
  setExtraPermits(count: number): void {
    this.permits.resize(this.maxRequests + count);
  }

  statistics(): PermitStatistics {
    return this.permits.statistics();
  }

  /** Percent of CONCURRENCY_MAX_REQUESTS in the flows of a holder; the load of others is not disclosed. */
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

/** Runs pipes and handler with a permit, until REQUEST_TIMEOUT_MS or a disconnect. */
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

/** Runs the rest of a chain of interceptors inside `run`. */
export function withPermit(
  run: (work: () => Promise<unknown>) => Promise<unknown>,
  next: CallHandler,
): Observable<unknown> {
  return defer(() => run(() => lastValueFrom(next.handle(), { defaultValue: undefined })));
}

/**
 * Gives a handler a permit and a deadline, and refuses requests at once when the queue is full. The decorator stands
 * above the interceptors that read the body, so that a slow sender holds no permit.
 */
export function LimitConcurrency(): MethodDecorator {
  return applyDecorators(UseGuards(ConcurrencyGuard), UseInterceptors(ConcurrencyInterceptor));
}
