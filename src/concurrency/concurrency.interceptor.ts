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
import { serverConfig } from '../platform/config/server.config';
import { requestSignal } from '../http/request-signal';
import { FairScheduler } from './fair-scheduler';
import { withPermit } from './with-permit';
import { flowOfRequest, type FlowRequest } from './flow';

/** Pipes and handler run when it is their turn, and until the deadline (REQUEST_TIMEOUT_MS) or the client hangs up. */
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
