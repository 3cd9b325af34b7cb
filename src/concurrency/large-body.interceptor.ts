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
import { serverConfig } from '../platform/config/settings';
import { type BodyRequest, RAW_BODY } from '../http/body-reader';
import { requestSignal } from '../http/request-signal';
import { withPermit } from './concurrency.interceptor';
import { type FlowRequest, flowOfRequest } from './flow';
import { LargeBodyLimiter } from './large-body-limiter';

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
