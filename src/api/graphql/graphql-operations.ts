import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { GraphQLError, type GraphQLSchema } from 'graphql';
import {
  createHandler,
  type Handler,
  parseRequestParams,
  type ParseRequestParams,
  type RequestParams,
  type ResponseInit,
} from 'graphql-http';
import type { IncomingMessage } from 'node:http';
import { graphqlConfig } from '../../platform/config/graphql.config';
import { ERROR_TABLE } from '../../platform/errors/error-table';
import { AppError, validationFailed } from '../../platform/errors/app-error';
import { restoreNumbers } from '../../platform/runtime/lossless-json';
import { requireSingleParameters } from '../../http/query-string';
import { nameRoute, requestIdOf } from '../../http/request-context';
import { shownError } from './graphql-errors';
import { GraphqlServices } from './graphql-services';
import { checkDocument, validationRules } from './operation-check';
import { isOneWrite, routeNameOf } from './operation-shape';
import type { DocumentShapes } from './list-limits';
import { readDocument, validateDocument } from './document-cache';
import type { Writer } from './root-fields';
import type { CallContext } from './schema';

/** The media type whose status tells of errors of the request. */
const GRAPHQL_RESPONSE = 'application/graphql-response+json';

/** One request over HTTP. `body` is null for GET. */
export interface GraphqlCall extends Omit<Writer, 'noteReplay'> {
  request: IncomingMessage;
  body: Record<string, unknown> | null;
}

export interface ResponseHead {
  status: number;
  contentType: string;
  allow?: string;
  retryAfterSeconds?: number;
  /** The answer to the write was given before. */
  isReplayed?: boolean;
}

/** What comes to light while a request is answered. */
interface ResponseState {
  isTooLarge: boolean;
  isWithoutData: boolean;
  isReplayed: boolean;
  retryAfterSeconds?: number;
}

/** Runs operations as the GraphQL-over-HTTP specification wants them answered. */
@Injectable()
export class GraphqlOperations {
  private readonly schema: GraphQLSchema;

  constructor(
    private readonly services: GraphqlServices,
    @Inject(graphqlConfig.KEY) private readonly config: ConfigType<typeof graphqlConfig>,
  ) {
    this.schema = services.schema;
  }

  /**
   * The text of the answer and how to send it.
   * @throws AppError METHOD_NOT_ALLOWED, NOT_ACCEPTABLE, UNSUPPORTED_MEDIA_TYPE; what fails of a field is in the answer.
   */
  async respond(call: GraphqlCall): Promise<[string, ResponseHead]> {
    const { request } = call;
    requireSingleParameters(request.url ?? '');
    const state: ResponseState = { isTooLarge: false, isWithoutData: false, isReplayed: false };
    const handle = this.handlerOf(call, state);
    const [text, init] = await handle({
      method: request.method ?? '',
      url: request.url ?? '',
      headers: request.headers,
      body: call.body,
      raw: request,
      context: undefined,
    });
    const { isTooLarge, isWithoutData, isReplayed, retryAfterSeconds } = state;
    const contentType = init.headers?.['content-type'] ?? 'application/json; charset=utf-8';
    // Variables that do not fit are found by the execution, whose answers the handler takes for good ones.
    const isRefused = isTooLarge || (isWithoutData && contentType.startsWith(GRAPHQL_RESPONSE));
    return [
      restoreNumbers(textOf(text, init)),
      {
        status: isRefused ? ERROR_TABLE.VALIDATION_FAILED.status : init.status,
        contentType,
        isReplayed,
        ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
      },
    ];
  }

  /** What speaks the protocol with one request, and notes in `state` what the answer does not tell. */
  private handlerOf(call: GraphqlCall, state: ResponseState): Handler<IncomingMessage, undefined> {
    const { request, principal, signal, answer, claim, flow } = call;
    return createHandler<IncomingMessage, undefined, CallContext & Record<PropertyKey, unknown>>({
      schema: this.schema,
      context: {
        ...{ principal, signal, answer, claim, flow, services: this.services },
        noteReplay: () => (state.isReplayed = true),
      },
      validationRules: () => validationRules(this.config.introspection),
      parse: (source) => readDocument(typeof source === 'string' ? source : source.body),
      validate: (schema, document, rules = []) => validateDocument(schema, document, rules),
      parseRequestParams: paramsOf,
      onSubscribe: (_, params) => {
        const refusal = refusalOf(params, call, this.services.shapes);
        state.isTooLarge = refusal !== undefined;
        return refusal && [refusal];
      },
      onOperation: (_request, _args, result) => {
        state.isWithoutData = !('data' in result);
      },
      formatError: (error) => {
        const shown = shownError(error, requestIdOf(request), this.config.introspection);
        state.isTooLarge ||= isAbort(error);
        const { retryAfter } = shown.extensions;
        if (typeof retryAfter === 'number') state.retryAfterSeconds = retryAfter;
        return shown;
      },
    });
  }
}

/** The parameters of a request. What is wrong with them is the client's mistake. */
const paramsOf: ParseRequestParams = async (request) => {
  try {
    return await parseRequestParams(request);
  } catch (error) {
    throw new AppError(
      'VALIDATION_FAILED',
      `${error instanceof Error ? error.message : 'Invalid'}.`,
    );
  }
};

/** Whether validation or coercion gave up: a document that is wrong in so many places is refused as one too large. */
function isAbort(error: Readonly<GraphQLError | Error>): boolean {
  return /^Too many .* error limit reached/.test(error.message);
}

/** What the handler answers without a body, and its refusal to write by GET, are errors of our table. */
function textOf(text: string | null, { status, headers }: ResponseInit): string {
  if (status === ERROR_TABLE.METHOD_NOT_ALLOWED.status) {
    const detail = text === null ? 'Send GET or POST.' : 'Mutations are sent by POST.';
    throw new AppError('METHOD_NOT_ALLOWED', detail, { headers: { Allow: headers?.allow ?? '' } });
  }
  if (status === ERROR_TABLE.NOT_ACCEPTABLE.status) {
    throw new AppError(
      'NOT_ACCEPTABLE',
      'Answers are application/graphql-response+json or application/json.',
    );
  }
  if (text === null) {
    throw new AppError(
      'UNSUPPORTED_MEDIA_TYPE',
      'Send the body as Content-Type: application/json.',
    );
  }
  return text;
}

/** Names the request for metrics, and says why its operation is not even looked at. */
function refusalOf(
  { query, operationName, variables }: RequestParams,
  { request, claim }: GraphqlCall,
  shapes: DocumentShapes,
): GraphQLError | undefined {
  nameRoute(request, 'graphql');
  const checked = checkDocument(query, variables ?? {}, shapes);
  if ('refusal' in checked) return checked.isUnreadable ? undefined : checked.refusal;
  const { document } = checked;
  nameRoute(request, routeNameOf(document, operationName, shapes.schema));
  return claim && !isOneWrite(document, operationName) ? keyForMany() : undefined;
}

/** The refusal of an idempotency key on a request that writes more than once: it stands for one write. */
function keyForMany(): GraphQLError {
  const message = 'is for one write: send each mutation that stores events in a request of its own';
  const error = validationFailed([{ path: 'Idempotency-Key', message }]);
  return new GraphQLError(error.detail, { originalError: error });
}
