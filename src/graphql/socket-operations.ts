import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import {
  execute,
  GraphQLError,
  subscribe,
  validate,
  type ExecutionArgs,
  type ExecutionResult,
} from 'graphql';
import { makeServer, type Context, type Server, type SubscribePayload } from 'graphql-ws';
import type { Principal } from '../auth/principal';
import { TokenVerifier } from '../auth/token-verifier';
import { RateLimit } from '../concurrency/rate-limit';
import { graphqlConfig } from '../config/graphql.config';
import { serverConfig } from '../config/server.config';
import { AppError } from '../errors/app-error';
import { toAppError } from '../errors/problem';
import { parseExactJson, parseMarkedJson, unmarkJson } from '../front/exact-json';
import { requestTimeout } from '../front/patience';
import { requestIdOf } from '../front/request-context';
import { keepExactVariables } from './exact-variables';
import { CLOSE, type GraphqlConnection } from './graphql-connection';
import { shownError } from './graphql-errors';
import { GraphqlServices } from './graphql-services';
import { checkDocument, validationRules } from './operation-check';
import type { CallContext } from './schema';

/** A client has to say who it is within this. */
const INIT_TIMEOUT_MS = 5000;
/** Queries and mutations under way on one socket; more are refused. */
const MAX_ANSWERING = 100;

/** What hooks of the protocol are given. */
export interface SocketExtra {
  connection: GraphqlConnection;
  /** Takes a place among the sockets of the principal. @throws AppError TOO_MANY_REQUESTS */
  takePlace: (principal: Principal) => void;
}
type SocketContext = Context<Record<string, unknown> | undefined, SocketExtra>;
type SocketArgs = ExecutionArgs & { contextValue: CallContext & { connection: GraphqlConnection } };

/** Runs the operations of sockets, with the same schema, limits and errors as those of requests. */
@Injectable()
export class SocketOperations {
  constructor(
    private readonly services: GraphqlServices,
    private readonly verifier: TokenVerifier,
    private readonly rateLimit: RateLimit,
    @Inject(graphqlConfig.KEY) private readonly config: ConfigType<typeof graphqlConfig>,
    @Inject(serverConfig.KEY) private readonly server: ConfigType<typeof serverConfig>,
  ) {}

  /** What speaks graphql-transport-ws. */
  protocol(): Server<SocketExtra> {
    return makeServer<Record<string, unknown> | undefined, SocketExtra>({
      connectionInitWaitTimeout: INIT_TIMEOUT_MS,
      onConnect: (context) => this.admit(context),
      onSubscribe: (context, _, payload) => this.argsOf(context, payload),
      execute: (args) => this.answer(args as SocketArgs),
      subscribe: (args) => follow(args as SocketArgs),
      onNext: ({ extra }, _id, _payload, _args, { errors, ...rest }) =>
        errors ? { ...rest, errors: shown(errors, extra) } : undefined,
      onError: ({ extra }, _id, _payload, errors) => shown(errors, extra),
    });
  }

  /** Lets in who brings a good token; all others are told by the code that their socket closes with. */
  private async admit({ connectionParams, extra }: SocketContext): Promise<boolean> {
    const { connection, takePlace } = extra;
    const { authorization, Authorization } = connectionParams ?? {};
    const given = authorization ?? Authorization;
    try {
      const header = typeof given === 'string' ? given : undefined;
      const principal = await this.verifier.verify(header);
      if (!connection.isOpen) return false;
      takePlace(principal);
      connection.admit(principal);
      return true;
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code === 'UNAUTHENTICATED') connection.close(CLOSE.unauthorized, 'Unauthorized');
      else connection.close(CLOSE.tryAgainLater, error.detail.slice(0, 100));
      return false;
    }
  }

  /** What to run, or why not. The message is looked at before the first `await`: it is the connection's only then. */
  private async argsOf(
    { extra: { connection } }: SocketContext,
    payload: SubscribePayload,
  ): Promise<ExecutionArgs | readonly GraphQLError[]> {
    const { principal, signal, text } = connection;
    if (!principal) throw new Error('The connection was not admitted.');
    try {
      const { query, operationName, variables } = exactPayload(text, payload);
      if (connection.answering > MAX_ANSWERING) {
        throw new AppError('TOO_MANY_REQUESTS', 'Too many operations are under way here.', {
          retryAfterSeconds: 1,
        });
      }
      await this.rateLimit.admit(principal);
      const { schema, shapes, all } = this.services;
      const checked = checkDocument(query, variables ?? {}, shapes);
      if ('refusal' in checked) return [checked.refusal];
      const { document } = checked;
      const errors = validate(schema, document, validationRules(this.config.introspection));
      if (errors.length > 0) return errors;
      const contextValue = { principal, signal, services: all, connection };
      return { schema, document, operationName, variableValues: variables, contextValue };
    } catch (thrown) {
      const error = toAppError(thrown);
      return [new GraphQLError(error.detail, { originalError: error })];
    }
  }

  /** Runs a query or mutation for as long as somebody waits for it. */
  private async answer(args: SocketArgs): Promise<ExecutionResult> {
    const { signal } = args.contextValue;
    const own = new AbortController();
    const leave = (): void => own.abort(signal.reason);
    const timer = setTimeout(() => own.abort(requestTimeout()), this.server.requestTimeoutMs);
    signal.addEventListener('abort', leave, { once: true });
    try {
      return await execute({ ...args, contextValue: { ...args.contextValue, signal: own.signal } });
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', leave);
    }
  }
}

/** Counts a subscription for as long as it goes on. */
async function follow(
  args: SocketArgs,
): Promise<ExecutionResult | AsyncIterableIterator<ExecutionResult>> {
  const { connection } = args.contextValue;
  const result = await subscribe(args);
  if (!(Symbol.asyncIterator in result)) return result;
  let isCounted = true;
  const uncount = (): void => {
    if (isCounted) connection.following -= 1;
    isCounted = false;
  };
  connection.following += 1;
  const counted: AsyncIterableIterator<ExecutionResult> = {
    next: () =>
      result.next().then(
        (next) => {
          if (next.done) uncount();
          return next;
        },
        (error: unknown) => {
          uncount();
          throw error;
        },
      ),
    return: () => {
      uncount();
      return result.return(undefined);
    },
    [Symbol.asyncIterator]: () => counted,
  };
  return counted;
}

/** The payload with the exact numbers of the message, and nothing named twice in it. @throws AppError MALFORMED_JSON */
function exactPayload(text: string, payload: SubscribePayload): SubscribePayload {
  if (!payload.variables) return payload;
  try {
    const { payload: marked } = parseMarkedJson(text) as { payload: object };
    const own = unmarkJson(JSON.stringify(marked));
    const exact = parseExactJson(own) as SubscribePayload;
    keepExactVariables(exact, Buffer.from(own));
    return exact;
  } catch (error) {
    if (error instanceof AppError) throw error;
    const detail = error instanceof Error ? error.message : 'is not valid';
    throw new AppError('VALIDATION_FAILED', `The message ${detail}.`);
  }
}

function shown(errors: readonly GraphQLError[], { connection }: SocketExtra): GraphQLError[] {
  const requestId = requestIdOf(connection.request);
  return errors.map((error) => shownError(error, requestId));
}
