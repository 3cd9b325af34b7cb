import { All, Controller, Inject, Req, Res, UseFilters } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { ApiExcludeController } from '@nestjs/swagger';
import type { Response } from 'express';
import { ComposedResponse } from '../../audit/read/response-composition';
import { idempotencyClaimOf } from '../../audit/write/idempotency-claim';
import { CurrentPrincipal } from '../../auth/current-principal.decorator';
import type { Principal } from '../../auth/principal';
import { Authenticated } from '../../auth/scopes.decorator';
import { flowOfRequest } from '../../concurrency/flow';
import { LargeBodyLimiter } from '../../concurrency/large-body-limiter';
import { serverConfig } from '../../platform/config/server.config';
import { AppError } from '../../platform/errors/app-error';
import { keepExactMembers } from '../../platform/runtime/lossless-json';
import { JsonBodyInterceptor, type BodyRequest } from '../../http/json-body.interceptor';
import { requestSignal } from '../../http/request-signal';
import { GraphqlFilter, writeGraphql } from './graphql.filter';
import { type ResponseHead, GraphqlOperations } from './graphql-operations';
import type { Reader } from './root-fields';

/** A request, who it is of, and until when somebody waits for its answer. */
type HttpCall = Reader & { request: BodyRequest; flow: string };

/** The GraphQL door over HTTP. Who has no good token learns nothing; what a field needs beyond, the field says. */
@ApiExcludeController()
@Controller('graphql')
@UseFilters(GraphqlFilter)
export class GraphqlController {
  constructor(
    private readonly operations: GraphqlOperations,
    private readonly bodies: JsonBodyInterceptor,
    private readonly largeBodies: LargeBodyLimiter,
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
  ) {}

  @All()
  @Authenticated()
  async answer(
    @CurrentPrincipal() principal: Principal,
    @Req() request: BodyRequest,
    @Res() response: Response,
  ): Promise<void> {
    const bytes =
      request.method === 'POST' ? await this.bodies.readBytes(request, response) : undefined;
    const signal = requestSignal(response, this.config.requestTimeoutMs);
    const answer = new ComposedResponse();
    const call = { request, principal, signal, answer, flow: flowOfRequest(request) };
    try {
      const answering = bytes
        ? this.answerPost(call, bytes.length, response)
        : this.operations.respond({ ...call, body: null });
      write(response, await answering);
    } finally {
      answer.end();
    }
  }

  /** What is in a large body is not looked at before its turn among those. */
  private answerPost(
    call: HttpCall,
    bytes: number,
    response: Response,
  ): Promise<[string, ResponseHead]> {
    const { request, principal } = call;
    const answer = async (): Promise<[string, ResponseHead]> => {
      const body = await this.bodyOf(request, response);
      const claim = idempotencyClaimOf(request, principal, 'graphql');
      return this.operations.respond({ ...call, body, claim, flow: flowOfRequest(request) });
    };
    return this.largeBodies.workAt(request, { ...call, bytes }, answer);
  }

  private async bodyOf(request: BodyRequest, response: Response): Promise<Record<string, unknown>> {
    const body = await this.bodies.readWholeBody(request, response);
    if (Array.isArray(body)) {
      throw new AppError('VALIDATION_FAILED', 'Send one operation a request; batches are refused.');
    }
    if (typeof body !== 'object' || body === null) {
      throw new AppError('VALIDATION_FAILED', 'The body must be a JSON object.');
    }
    // A variable may be a JSON value itself, under any name.
    keepExactMembers(body, 'variables');
    return body as Record<string, unknown>;
  }
}

/** Writes an answer whole. */
function write(response: Response, [text, init]: [string, ResponseHead]): void {
  if (init.isReplayed) response.setHeader('Idempotency-Replayed', 'true');
  if (init.retryAfterSeconds !== undefined) {
    response.setHeader('Retry-After', String(init.retryAfterSeconds));
  }
  if (init.allow !== undefined) response.setHeader('Allow', init.allow);
  writeGraphql(response, init.status, text, init.contentType);
}
