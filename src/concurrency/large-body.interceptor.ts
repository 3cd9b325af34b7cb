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
import { type BodyRequest, RAW_BODY } from '../http/json-body.interceptor';
import { patienceOf } from '../http/request-signal';
import { inTurn } from './with-permit';
import { type LanedRequest, laneOfRequest } from './flow';
import { LargeTurns } from './large-body-limiter';

/**
 * Has a request with a large body wait for its turn among those before anything is made of its bytes. Stands between what
 * reads these (BodyBytesInterceptor) and @FairTurn().
 */
@Injectable()
export class LargeTurnInterceptor implements NestInterceptor {
  constructor(
    private readonly turns: LargeTurns,
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const http = context.switchToHttp();
    const request = http.getRequest<BodyRequest & LanedRequest>();
    const turn = {
      bytes: request[RAW_BODY]?.length ?? 0,
      lane: laneOfRequest(request),
      signal: patienceOf(http.getResponse<ServerResponse>(), this.config.requestTimeoutMs),
    };
    return inTurn((work) => this.turns.workAt(request, turn, work), next);
  }
}
