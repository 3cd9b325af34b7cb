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
import { patienceOf } from '../http/request-signal';
import { FairTurns } from './fair-scheduler';
import { inTurn } from './with-permit';
import { laneOfRequest, type LanedRequest } from './flow';

/** Pipes and handler run when it is their turn, and until the deadline (REQUEST_TIMEOUT_MS) or the client hangs up. */
@Injectable()
export class ConcurrencyInterceptor implements NestInterceptor {
  constructor(
    private readonly turns: FairTurns,
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const http = context.switchToHttp();
    const signal = patienceOf(http.getResponse<ServerResponse>(), this.config.requestTimeoutMs);
    const lane = laneOfRequest(http.getRequest<LanedRequest>());
    return inTurn((work) => this.turns.run({ lane, signal }, work), next);
  }
}
