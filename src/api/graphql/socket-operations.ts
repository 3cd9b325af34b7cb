import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { once } from 'node:events';
import {
  execute,
  GraphQLError,
  subscribe,
  type ExecutionArgs,
  type ExecutionResult,
} from 'graphql';
import { makeServer, type Context, type Server, type SubscribePayload } from 'graphql-ws';
import { ComposedResponse } from '../../audit/read/response-composition';
import type { Principal } from '../../auth/principal';
import { TokenLife } from '../../auth/token-life';
import { TokenVerifier } from '../../auth/token-verifier';
import { flowKey } from '../../concurrency/flow';
import { RateLimit } from '../../concurrency/rate-limit';
import { graphqlConfig } from '../../platform/config/graphql.config';
import { serverConfig } from '../../platform/config/server.config';
import { AppError } from '../../platform/errors/app-error';
import { ERROR_TABLE } from '../../platform/errors/error-table';
import { toAppError } from '../../platform/errors/problem';
import { withDeadline } from '../../platform/runtime/deadline';
import { keepExactMembers, parseExactJson } from '../../platform/runtime/lossless-json';
import { requestTimeout } from '../../http/request-signal';
import { requestIdOf } from '../../http/request-context';
import type { OperationObserver } from '../../http/request-observer';
import { CLOSE, type GraphqlConnection } from './graphql-connection';
import { shownError } from './graphql-errors';
import { GraphqlServices } from './graphql-services';
import { validateDocument } from './document-cache';
import { checkDocument, validationRules } from './operation-check';
import { routeNameOf } from './operation-shape';
import type { CallContext } from './schema';

/** A client has to say who it is within this. */
const INIT_TIMEOUT_MS = 5000;
/** Queries and mutations under way on one socket; more are refused. */
const MAX_RESPONDING = 100;
const OK = 200;

/** Of what is not executed as a query or mutation: nothing can be read as a part of it. */
const NO_RESPONSE = new ComposedResponse();
NO_RESPONSE.end();

/** What hooks of the protocol are given. */
export interface SocketExtra {
  connection: GraphqlConnection;
  /** Takes a place among the sockets of the principal. @throws AppError TOO_MANY_REQUESTS */
  takeSlot: (principal: Principal) => void;
}
type SocketContext = Context<Record<string, unknown> | undefined, SocketExtra>;
interface SocketCall extends CallContext {
  connection: GraphqlConnection;
  measure: Measure;
}
type SocketArgs = ExecutionArgs & { contextValue: SocketCall };

/** Runs the operations of sockets, with the same schema, limits and errors as those of requests. */
@Injectable()
export class SocketOperations {
  constructor(
    private readonly services: GraphqlServices,
    private readonly verifier: TokenVerifier,
    private readonly tokens: TokenLife,
    private readonly rateLimit: RateLimit,
    @Inject(graphqlConfig.KEY) private readonly config: ConfigType<typeof graphqlConfig>,
    @Inject(serverConfig.KEY) private readonly server: ConfigType<typeof serverConfig>,
  ) {}

  /** What speaks graphql-transport-ws; `observe` is told of each operation that is over. */
  protocol(observe: OperationObserver): Server<SocketExtra> {
    return makeServer<Record<string, unknown> | undefined, SocketExtra>({
      connectionInitWaitTimeout: INIT_TIMEOUT_MS,
      onConnect: (context) => this.admit(context),
      onSubscribe: async ({ extra: { connection } }) => {
        const measure = new Measure(connection, observe);
        const args = await this.argsOf(connection, measure);
        if (!('schema' in args)) measure.end(statusOf(args));
        return args;
      },
      execute: (args) => this.respond(args as SocketArgs),
      subscribe: (args) => follow(args as SocketArgs),
      onNext: ({ extra }, _id, _payload, _args, { errors, ...rest }) =>
        errors ? { ...rest, errors: this.shown(errors, extra) } : undefined,
      onError: ({ extra }, _id, _payload, errors) => this.shown(errors, extra),
    });
  }

  /** Lets in who brings a good token; all others are told by the code that their socket closes with. */
  private async admit({ connectionParams, extra }: SocketContext): Promise<boolean> {
    const { connection, takeSlot: takePlace } = extra;
    try {
      const given = authorizationIn(connection, connectionParams ?? {});
      const principal = await this.verifier.verify(given);
      if (!connection.isOpen) return false;
      takePlace(principal);
      connection.admit(principal, this.tokens);
      return true;
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code === 'UNAUTHENTICATED') connection.close(CLOSE.unauthorized, 'Unauthorized');
      else if (error.code === 'VALIDATION_FAILED') {
        connection.close(CLOSE.badRequest, error.detail.slice(0, 100));
      } else connection.close(CLOSE.tryAgainLater, error.detail.slice(0, 100));
      return false;
    }
  }

  /** What to run, or why not. The message is looked at before the first `await`: it is the connection's only then. */
  private async argsOf(
    connection: GraphqlConnection,
    measure: Measure,
  ): Promise<ExecutionArgs | readonly GraphQLError[]> {
    const { principal, signal, text } = connection;
    if (!principal) throw new Error('The connection was not admitted.');
    try {
      if (connection.isAtCapacity) throw tooManyLargeMessages();
      const { query, operationName, variables } = payloadOf(text);
      if (connection.answering > MAX_RESPONDING) {
        throw new AppError('TOO_MANY_REQUESTS', 'Too many operations are under way here.', {
          retryAfterSeconds: 1,
        });
      }
      await this.rateLimit.admit(principal);
      const { schema, shapes } = this.services;
      const checked = checkDocument(query, variables ?? {}, shapes);
      if ('refusal' in checked) return [checked.refusal];
      const { document } = checked;
      measure.route = routeNameOf(document, operationName, schema);
      const errors = validateDocument(schema, document, validationRules(this.config.introspection));
      if (errors.length > 0) return errors;
      const flow = flowKey(principal);
      const contextValue: SocketCall = {
        ...{ principal, signal, flow, services: this.services, answer: NO_RESPONSE },
        ...{ connection, measure },
      };
      return { schema, document, operationName, variableValues: variables, contextValue };
    } catch (thrown) {
      return [failureOf(thrown)];
    }
  }

  private shown(errors: readonly GraphQLError[], { connection }: SocketExtra): GraphQLError[] {
    const requestId = requestIdOf(connection.request);
    return errors.map((error) => shownError(error, requestId, this.config.introspection));
  }

  /** Runs a query or mutation for as long as somebody waits for it. */
  private async respond(args: SocketArgs): Promise<ExecutionResult> {
    const { signal, measure, connection } = args.contextValue;
    const answer = new ComposedResponse();
    const deadline = { timeoutMs: this.server.requestTimeoutMs, late: requestTimeout, signal };
    try {
      const result = await withDeadline(deadline, (own) => {
        const contextValue = { ...args.contextValue, signal: own, answer };
        return connection.inOrder(async () => execute({ ...args, contextValue }), own);
      }).catch((thrown: unknown): ExecutionResult => ({ errors: [failureOf(thrown)] }));
      measure.end(statusOf(result.errors));
      return result;
    } finally {
      // By then the message is among what waits to be taken by the client.
      setImmediate(() => answer.end());
    }
  }
}

/**
 * The Authorization that the first message holds, in either spelling. The header of the handshake gives no access, but one
 * that says otherwise was meant for, or added by, somebody who takes this socket for another principal's.
 * @throws AppError VALIDATION_FAILED when these differ, or the message has a member twice.
 */
function authorizationIn(
  { text, request }: GraphqlConnection,
  { authorization, Authorization }: Record<string, unknown>,
): string | undefined {
  payloadOf(text);
  const given = [authorization, Authorization].filter((one) => typeof one === 'string');
  const [only] = given;
  const header = only === undefined ? undefined : request.headers.authorization;
  if ([...given, header ?? only].some((one) => one !== only)) {
    throw new AppError('VALIDATION_FAILED', 'Authorization is given twice, with different values');
  }
  return only;
}

/** How long an operation took, and that it is over. */
class Measure {
  route = 'graphql';
  private readonly startedMs = performance.now();
  private isOver = false;
  private begunMs: number | undefined;

  constructor(
    private readonly connection: GraphqlConnection,
    private readonly observe: OperationObserver,
  ) {}

  /** Of what goes on for as long as its reader likes, the time until it has begun is what counts. */
  begin(): void {
    this.begunMs = performance.now();
  }

  end(status: number): void {
    if (this.isOver) return;
    this.isOver = true;
    const ms = (this.begunMs ?? performance.now()) - this.startedMs;
    this.observe({ request: this.connection.request, route: this.route, status, ms });
  }
}

/** The status that a request with these errors would be answered with. */
function statusOf(errors: readonly Error[] = []): number {
  const [first] = errors;
  if (!first) return OK;
  const cause = first instanceof GraphQLError ? first.originalError : first;
  const isGraphql = !cause || cause instanceof GraphQLError;
  return isGraphql ? ERROR_TABLE.VALIDATION_FAILED.status : toAppError(cause).status;
}

/** Counts a subscription for as long as it goes on. */
async function follow(
  args: SocketArgs,
): Promise<ExecutionResult | AsyncIterableIterator<ExecutionResult>> {
  const { connection, measure } = args.contextValue;
  const result = await subscribe(args);
  if (!(Symbol.asyncIterator in result)) {
    measure.end(statusOf(result.errors));
    return result;
  }
  measure.begin();
  let isCounted = true;
  const uncount = (status: number): void => {
    if (isCounted) connection.following -= 1;
    isCounted = false;
    measure.end(status);
  };
  connection.following += 1;
  const counted: AsyncIterableIterator<ExecutionResult> = {
    next: () =>
      result.next().then(
        async (next) => {
          // Told that it is over, its client would not go on elsewhere: it is told by the close of the socket alone.
          if (next.done && connection.isLeaving && !connection.signal.aborted) {
            await once(connection.signal, 'abort');
          }
          if (next.done) uncount(OK);
          return next;
        },
        (error: unknown) => {
          uncount(statusOf([toAppError(error)]));
          throw error;
        },
      ),
    return: () => {
      uncount(OK);
      return result.return(undefined);
    },
    [Symbol.asyncIterator]: () => counted,
  };
  return counted;
}

/** The payload with the exact numbers of the message, in which nothing is named twice. @throws AppError VALIDATION_FAILED */
function payloadOf(text: string): SubscribePayload {
  try {
    const message = parseExactJson(text) as { payload: SubscribePayload };
    keepExactMembers(message, 'payload', 'variables');
    return message.payload;
  } catch (error) {
    if (error instanceof AppError) throw error;
    const detail = error instanceof Error ? error.message : 'is not valid';
    throw new AppError('VALIDATION_FAILED', `The message ${detail}.`);
  }
}

/** The refusal of one operation, for want of memory for its message: its socket and what goes on there stay. */
function tooManyLargeMessages(): AppError {
  return new AppError('TOO_MANY_REQUESTS', 'Too many large messages are under way.', {
    retryAfterSeconds: 1,
  });
}

function failureOf(thrown: unknown): GraphQLError {
  const error = toAppError(thrown);
  return new GraphQLError(error.detail, { originalError: error });
}
