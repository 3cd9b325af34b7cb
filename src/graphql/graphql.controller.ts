import { All, Controller, Inject, Req, Res, UseFilters } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { ApiExcludeController } from '@nestjs/swagger';
import type { Response } from 'express';
import { idempotencyClaimOf } from '../audit/idempotency-claim';
import { CurrentPrincipal } from '../auth/current-principal.decorator';
import type { Principal } from '../auth/principal';
import { Authenticated } from '../auth/scopes.decorator';
import { serverConfig } from '../config/server.config';
import { AppError } from '../errors/app-error';
import { JsonBodyInterceptor, RAW_BODY, type BodyRequest } from '../front/json-body.interceptor';
import { patienceOf } from '../front/patience';
import { keepExactVariables } from './exact-variables';
import { GraphqlFilter, writeGraphql } from './graphql.filter';
import { GraphqlOperations } from './graphql-operations';

/** The GraphQL door over HTTP. Who has no good token learns nothing; what a field needs beyond, the field says. */
@ApiExcludeController()
@Controller('graphql')
@UseFilters(GraphqlFilter)
export class GraphqlController {
  constructor(
    private readonly operations: GraphqlOperations,
    private readonly bodies: JsonBodyInterceptor,
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
  ) {}

  @All()
  @Authenticated()
  async answer(
    @CurrentPrincipal() principal: Principal,
    @Req() request: BodyRequest,
    @Res() response: Response,
  ): Promise<void> {
    const signal = patienceOf(response, this.config.requestTimeoutMs);
    const body = request.method === 'POST' ? await this.bodyOf(request, response) : null;
    const claim = body === null ? undefined : idempotencyClaimOf(request, principal, 'graphql');
    const [text, init] = await this.operations.answer({ request, body, principal, signal, claim });
    if (init.isReplayed) response.setHeader('Idempotency-Replayed', 'true');
    if (init.retryAfterSeconds !== undefined) {
      response.setHeader('Retry-After', String(init.retryAfterSeconds));
    }
    if (init.allow !== undefined) response.setHeader('Allow', init.allow);
    writeGraphql(response, init.status, text, init.contentType);
  }

  private async bodyOf(request: BodyRequest, response: Response): Promise<Record<string, unknown>> {
    const body = await this.bodies.readWholeBody(request, response);
    const bytes = request[RAW_BODY];
    if (bytes) keepExactVariables(body, bytes);
    if (Array.isArray(body)) {
      throw new AppError('VALIDATION_FAILED', 'Send one operation a request; batches are refused.');
    }
    if (typeof body !== 'object' || body === null) {
      throw new AppError('VALIDATION_FAILED', 'The body must be a JSON object.');
    }
    return body as Record<string, unknown>;
  }
}
