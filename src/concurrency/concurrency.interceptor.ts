import {
  type CallHandler,
  type ExecutionContext,
  Inject,
  Injectable,
  type NestInterceptor,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { ServerResponse } from 'node:http';
import { defer, lastValueFrom, type Observable } from 'rxjs';
import { serverConfig } from '../platform/config/settings';
import { requestSignal } from '../http/request-signal';
import { FairScheduler } from './fair-scheduler';
import { flowOfRequest, type FlowRequest } from './flow';

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
