import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import {
  type GraphQLError,
  Kind,
  parse,
  type DocumentNode,
  type GraphQLSchema,
  type OperationDefinitionNode,
} from 'graphql';
import {
  createHandler,
  parseRequestParams,
  type ParseRequestParams,
  type RequestParams,
  type ResponseInit,
} from 'graphql-http';
import type { IncomingMessage } from 'node:http';
import { graphqlConfig } from '../config/graphql.config';
import { ERROR_TABLE } from '../errors/error-table';
import { AppError } from '../errors/app-error';
import { unmarkJson } from '../front/exact-json';
import { nameRoute, requestIdOf } from '../front/request-context';
import { shownError } from './graphql-errors';
import { GraphqlServices } from './graphql-services';
import { checkDocument, validationRules } from './operation-check';
import { MAX_TOKENS } from './operation-limits';
import type { Caller } from './root-fields';
import type { CallContext } from './schema';

/** One request over HTTP. `body` is null for GET. */
export interface GraphqlCall extends Caller {
  request: IncomingMessage;
  body: Record<string, unknown> | null;
}

export interface AnswerInit {
  status: number;
  contentType: string;
  allow?: string;
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
  async answer(call: GraphqlCall): Promise<[string, AnswerInit]> {
    const { request, principal, signal } = call;
    const state = { isTooLarge: false, retryAfterSeconds: undefined as number | undefined };
    const handle = createHandler<
      IncomingMessage,
      undefined,
      CallContext & Record<PropertyKey, unknown>
    >({
      schema: this.schema,
      context: { principal, signal, services: this.services.all },
      validationRules: () => validationRules(this.config.introspection),
      parse: (source) => parse(source, { maxTokens: MAX_TOKENS }),
      parseRequestParams: paramsOf,
      onSubscribe: (_, params) => {
        const refusal = refusalOf(params, request, this.schema);
        state.isTooLarge = refusal !== undefined;
        return refusal && [refusal];
      },
      formatError: (error) => {
        const shown = shownError(error, requestIdOf(request));
        const { retryAfter } = shown.extensions;
        if (typeof retryAfter === 'number') state.retryAfterSeconds = retryAfter;
        return shown;
      },
    });
    const [text, init] = await handle({
      method: request.method ?? '',
      url: request.url ?? '',
      headers: request.headers,
      body: call.body,
      raw: request,
      context: undefined,
    });
    const { isTooLarge, retryAfterSeconds } = state;
    return [
      unmarkJson(textOf(text, init)),
      {
        status: isTooLarge ? ERROR_TABLE.VALIDATION_FAILED.status : init.status,
        contentType: init.headers?.['content-type'] ?? 'application/json; charset=utf-8',
        ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
      },
    ];
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
  request: IncomingMessage,
  schema: GraphQLSchema,
): GraphQLError | undefined {
  nameRoute(request, 'graphql');
  const checked = checkDocument(query, variables ?? {});
  if ('refusal' in checked) return checked.isUnreadable ? undefined : checked.refusal;
  nameRoute(request, routeNameOf(checked.document, operationName, schema));
  return undefined;
}

/** `graphql query auditEvent`: names of the schema alone, so that no client invents labels. */
function routeNameOf(
  { definitions }: DocumentNode,
  operationName: string | null | undefined,
  schema: GraphQLSchema,
): string {
  const operation = definitions.find(
    (definition): definition is OperationDefinitionNode =>
      definition.kind === Kind.OPERATION_DEFINITION &&
      (!operationName || definition.name?.value === operationName),
  );
  if (!operation) return 'graphql';
  const fields = schema.getRootType(operation.operation)?.getFields() ?? {};
  const first = operation.selectionSet.selections.find(({ kind }) => kind === Kind.FIELD);
  const name = first?.kind === Kind.FIELD ? first.name.value : '';
  return Object.hasOwn(fields, name)
    ? `graphql ${operation.operation} ${name}`
    : `graphql ${operation.operation}`;
}
