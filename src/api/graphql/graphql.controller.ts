import {
  All,
  type ArgumentsHost,
  Catch,
  Controller,
  type ExceptionFilter,
  Inject,
  Req,
  Res,
  UseFilters,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { ApiExcludeController } from '@nestjs/swagger';
import type { Response } from 'express';
import { GraphQLError } from 'graphql';
import {
  createHandler,
  parseRequestParams,
  type ParseRequestParams,
  type RequestParams,
  type ResponseInit,
} from 'graphql-http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { GraphqlDocuments, isOneWrite, readDocument } from './graphql-documents';
import { graphqlError, shownError } from './graphql-errors';
import type { ResolverContext, Writer } from './root-fields';
import { idempotencyClaimOf } from '../../audit/api/write-headers';
import { ComposedResponse } from '../../audit/read/response-composition';
import { CurrentPrincipal, type Principal } from '../../auth/principal';
import { Authenticated } from '../../auth/auth.guard';
import { flowOfRequest } from '../../concurrency/fair-scheduler';
import { LargeBodyLimiter } from '../../concurrency/large-body-limiter';
import { BodyReader, type BodyRequest } from '../../http/body-reader';
import { requireSingleParameters } from '../../validation/query-coercion';
import { preferredMediaType } from '../../http/negotiation';
import { nameRoute, requestIdOf, requestSignal } from '../../http/request-context';
import { spansOfResponse } from '../../http/request-times';
import { serverConfig } from '../../platform/config/settings';
import { AppError, validationFailed, ERROR_TABLE } from '../../platform/errors/app-error';
import { toAppError } from '../../platform/errors/problem';
import { keepExactMembers, restoreNumbers } from '../../platform/runtime/lossless-json';
import { spend } from '../../platform/runtime/time-spans';

/** The media type whose status reports errors of the request. */
const GRAPHQL_RESPONSE = 'application/graphql-response+json';
const MEDIA_TYPES = ['application/json', GRAPHQL_RESPONSE] as const;

type HandlerContext = ResolverContext & Record<PropertyKey, unknown>;

interface Result {
  text: string;
  status: number;
  contentType: string;
  isReplayed: boolean;
  retryAfterSeconds: number | undefined;
}

/** Failures before an operation is known: the status of their kind, and a GraphQL body. */
@Catch()
class GraphqlFilter implements ExceptionFilter {
  catch(thrown: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const request = http.getRequest<IncomingMessage>();
    const response = http.getResponse<ServerResponse>();
    const error = toAppError(thrown);
    const shown = shownError(error, requestIdOf(request));
    if (response.headersSent) {
      response.destroy();
      return;
    }
    for (const [name, value] of Object.entries(error.headers)) response.setHeader(name, value);
    if (error.retryAfterSeconds !== undefined) {
      response.setHeader('Retry-After', String(Math.ceil(error.retryAfterSeconds)));
    }
    const type = preferredMediaType(request.headers.accept, MEDIA_TYPES) ?? 'application/json';
    const text = JSON.stringify({ errors: [shown] });
    writeGraphql(response, error.status, text, `${type}; charset=utf-8`);
  }
}

/** GraphQL over HTTP. A caller without a good token learns nothing; fields check further scopes. */
@ApiExcludeController()
@Controller('graphql')
@UseFilters(GraphqlFilter)
export class GraphqlController {
  constructor(
    private readonly documents: GraphqlDocuments,
    private readonly bodies: BodyReader,
    private readonly largeBodies: LargeBodyLimiter,
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
  ) {}

  @All()
  @Authenticated()
  async respond(
    @CurrentPrincipal() principal: Principal,
    @Req() request: BodyRequest,
    @Res() response: Response,
  ): Promise<void> {
    const isPost = request.method === 'POST';
    const bytes = isPost ? await this.bodies.readBytes(request, response) : undefined;
    const signal = requestSignal(response, this.config.requestTimeoutMs);
    const composed = new ComposedResponse();
    const flow = flowOfRequest(request);
    const caller: Writer = { principal, signal, response: composed, flow };
    // The flow is another one while the request has a permit for its large body.
    const executePost = async (): Promise<Result> => {
      const body = await this.readBody(request, response);
      const claim = idempotencyClaimOf(request, principal, 'graphql');
      return this.execute(request, body, { ...caller, claim, flow: flowOfRequest(request) });
    };
    try {
      const result = bytes
        ? await this.largeBodies.run(request, { bytes: bytes.length, flow, signal }, executePost)
        : await this.execute(request, null, caller);
      const { text, status, contentType, isReplayed, retryAfterSeconds } = result;
      if (isReplayed) response.setHeader('Idempotency-Replayed', 'true');
      if (retryAfterSeconds !== undefined) {
        response.setHeader('Retry-After', String(retryAfterSeconds));
      }
      const exact = spend(spansOfResponse(response), 'json', () => restoreNumbers(text));
      writeGraphql(response, status, exact, contentType);
    } finally {
      composed.end();
    }
  }

  private async readBody(
    request: BodyRequest,
    response: Response,
  ): Promise<Record<string, unknown>> {
    const body = await this.bodies.readWholeBody(request, response);
    if (Array.isArray(body)) {
      throw new AppError('VALIDATION_FAILED', 'Send one operation a request; batches are refused.');
    }
    if (typeof body !== 'object' || body === null) {
      const detail =
        'The body must be a JSON object, such as { "query": "{ … }", "variables": {} }.';
      throw new AppError('VALIDATION_FAILED', detail);
    }
    // A variable may be a JSON value itself, under any name.
    keepExactMembers(body, 'variables');
    return body as Record<string, unknown>;
  }

  /**
   * `body` is null for GET. Failures of fields are in the result.
   * @throws AppError METHOD_NOT_ALLOWED, NOT_ACCEPTABLE, UNSUPPORTED_MEDIA_TYPE
   */
  private async execute(
    request: IncomingMessage,
    body: Record<string, unknown> | null,
    caller: Writer,
  ): Promise<Result> {
    const { method = '', url = '', headers } = request;
    const accept = preferredMediaType(headers.accept, MEDIA_TYPES);
    if (accept === undefined) {
      const detail = `Answers are ${GRAPHQL_RESPONSE} or application/json.`;
      throw new AppError('NOT_ACCEPTABLE', detail);
    }
    requireSingleParameters(url);
    const found = { isTooLarge: false, isWithoutData: false, isReplayed: false };
    let retryAfterSeconds: number | undefined;
    const handle = createHandler<IncomingMessage, undefined, HandlerContext>({
      schema: this.documents.schema,
      context: {
        ...caller,
        get: this.documents.get,
        noteReplay: () => (found.isReplayed = true),
      },
      parse: (source) => readDocument(typeof source === 'string' ? source : source.body),
      validate: (_schema, document) => this.documents.validate(document),
      parseRequestParams: readParameters,
      onSubscribe: (_, parameters) => {
        const refusal = this.refusalOf(request, parameters, caller);
        found.isTooLarge = refusal !== undefined;
        return refusal && [refusal];
      },
      onOperation: (_request, _args, result) => {
        found.isWithoutData = !('data' in result);
      },
      formatError: (error) => {
        const shown = this.documents.shown(error, requestIdOf(request));
        found.isTooLarge ||= isAbort(error);
        const { retryAfter } = shown.extensions;
        if (typeof retryAfter === 'number') retryAfterSeconds = retryAfter;
        return shown;
      },
    });
    const [text, init] = await handle({
      method,
      url,
      headers: { ...headers, accept },
      body,
      raw: request,
      context: undefined,
    });
    const contentType = init.headers?.['content-type'] ?? 'application/json; charset=utf-8';
    // Variables of wrong types are found by the execution, whose results have status 200 for the handler.
    const isRefused =
      found.isTooLarge || (found.isWithoutData && contentType.startsWith(GRAPHQL_RESPONSE));
    return {
      text: textOf(text, init),
      status: isRefused ? ERROR_TABLE.VALIDATION_FAILED.status : init.status,
      contentType,
      isReplayed: found.isReplayed,
      retryAfterSeconds,
    };
  }

  /** Names the request for metrics, and refuses an operation that is not to be validated. */
  private refusalOf(
    request: IncomingMessage,
    { query, operationName, variables }: RequestParams,
    { claim }: Writer,
  ): GraphQLError | undefined {
    nameRoute(request, 'graphql');
    const checked = this.documents.check(query, variables);
    if ('refusal' in checked) return checked.isUnreadable ? undefined : checked.refusal;
    const { document } = checked;
    nameRoute(request, this.documents.routeOf(document, operationName));
    if (!claim || isOneWrite(document, operationName)) return undefined;
    const message =
      'is for one write: send each mutation that stores events in a request of its own';
    return graphqlError(validationFailed([{ path: 'Idempotency-Key', message }]));
  }
}

const readParameters: ParseRequestParams = async (request) => {
  try {
    return await parseRequestParams(request);
  } catch (error) {
    const detail = error instanceof Error ? error.message : 'Invalid';
    throw new AppError('VALIDATION_FAILED', `${detail}.`);
  }
};

/** Whether validation or coercion gave up: so many mistakes make a document too large. */
function isAbort(error: Readonly<GraphQLError | Error>): boolean {
  return /^Too many .* error limit reached/.test(error.message);
}

/** Responses of the handler without a body, and its refusal to write by GET, become errors of the service. */
function textOf(text: string | null, { status, headers }: ResponseInit): string {
  if (status === ERROR_TABLE.METHOD_NOT_ALLOWED.status) {
    const detail = text === null ? 'Send GET or POST.' : 'Mutations are sent by POST.';
    throw new AppError('METHOD_NOT_ALLOWED', detail, { headers: { Allow: headers?.allow ?? '' } });
  }
  if (text === null) {
    throw new AppError(
      'UNSUPPORTED_MEDIA_TYPE',
      'Send the body as Content-Type: application/json.',
    );
  }
  return text;
}

function writeGraphql(
  response: ServerResponse,
  status: number,
  text: string,
  contentType: string,
): void {
  const body = Buffer.from(text);
  response.statusCode = status;
  response.setHeader('Content-Type', contentType);
  response.setHeader('Content-Length', body.length);
  response.setHeader('Cache-Control', 'no-store');
  response.end(body);
}
