import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { Request, Response } from 'express';
import { AuthFailures } from '../../auth/auth-failures';
import type { AuthenticatedRequest, Principal } from '../../auth/principal';
import { TokenVerifier } from '../../auth/token-verifier';
import { flowKey, type FlowRequest } from '../../concurrency/fair-scheduler';
import { LargeBodyLimiter } from '../../concurrency/large-body-limiter';
import { serverConfig } from '../../platform/config/settings';
import { validationFailed } from '../../platform/errors/app-error';
import { BODY_IS_READ, BodyReader, hasBody } from '../../http/body-reader';
import { requestSignal } from '../../http/request-context';
import { askForBody } from '../../http/connection-state';

/**
 * Reads the body of a POST for all its calls, instead of tRPC: limits, errors and exact numbers are those of every body,
 * a request without a token is not read, and a large body is parsed with a permit that all its calls share.
 */
@Injectable()
export class BatchBodyReader {
  constructor(
    private readonly bodies: BodyReader,
    private readonly verifier: TokenVerifier,
    private readonly failures: AuthFailures,
    private readonly largeBodies: LargeBodyLimiter,
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
  ) {}

  /** Asks a client that waits for it (`Expect: 100-continue`) to send its body, if it may be read. */
  async askForBody(request: Request): Promise<void> {
    if (!hasBody(request)) return;
    try {
      await this.verifier.verify(request.headers.authorization);
      askForBody(request);
    } catch {
      // Each call fails with the reason.
    }
  }

  /** A permit for a large body is kept until `over`. @throws AppError UNAUTHENTICATED, and what reading a body throws. */
  async read(request: Request, response: Response, over: Promise<void>): Promise<unknown> {
    const flow = flowKey(await this.principalOf(request));
    const { length: bytes } = await this.bodies.readBytes(request, response);
    const signal = requestSignal(response, this.config.requestTimeoutMs);
    return new Promise((resolve, reject) => {
      const work = (): Promise<void> => {
        resolve(this.bodies.readBody(request, response));
        return over;
      };
      this.largeBodies.run(request as FlowRequest, { bytes, flow, signal }, work).catch(reject);
    });
  }

  /** No guard sees a request whose body is not read for want of a token. */
  private async principalOf(request: Request): Promise<Principal> {
    try {
      return await this.verifier.verify(request.headers.authorization);
    } catch (error) {
      this.failures.note(request, error);
      throw error;
    }
  }
}

/** Calls of one batch under way: as many requests as a client would have at a time. */
const CALLS_AT_A_TIME = 10;

/** The inputs and the turns of the calls of one request. */
export class BatchInputs {
  private readonly waiting: (() => void)[] = [];
  private underWay = 0;
  private body: Promise<unknown> | undefined;
  private running = 0;
  private end = (): void => undefined;
  private readonly over = new Promise<void>((resolve) => {
    this.end = resolve;
  });

  constructor(
    private readonly request: Request,
    private readonly response: Response,
    private readonly reader: BatchBodyReader,
  ) {
    response.once('close', () => this.end());
  }

  /** All calls of a batch begin before the first can finish: all need the body. */
  begin(): void {
    this.running += 1;
  }

  /** Resolves when a call may go on: a batch has few at a time in the queue of its flow, however long it is. */
  async turn(): Promise<void> {
    if (this.underWay === CALLS_AT_A_TIME) {
      return new Promise((resolve) => this.waiting.push(resolve));
    }
    this.underWay += 1;
  }

  /** A call has its result, which may be a stream that goes on: its turn is that of the next one. */
  finish(): void {
    const next = this.waiting.shift();
    if (next) next();
    else this.underWay -= 1;
    this.running -= 1;
    if (this.running === 0) this.end();
  }

  get isFinished(): boolean {
    return this.running === 0;
  }

  /** The input of a call; undefined when it has none. @throws what BatchBodyReader.read throws. */
  async read(batchIndex: number, isBatch: boolean): Promise<unknown> {
    if (!hasBody(this.request)) return undefined;
    this.body ??= this.reader.read(this.request, this.response, this.over);
    const body = await this.body;
    if (!isBatch) return body;
    if (typeof body !== 'object' || body === null || Array.isArray(body)) {
      const message = 'must be an object with the inputs of the batch by index';
      throw validationFailed([{ path: '', message }]);
    }
    return (body as Record<string, unknown>)[String(batchIndex)];
  }
}

export interface CallRequest extends Request {
  /** Aborts when the client leaves: a stream has no deadline. */
  callSignal: AbortSignal;
}

/** The request with the input of one call for its body and its query. No call reads what guards leave on another's. */
export function callRequest(
  request: Request,
  input: unknown,
  callSignal: AbortSignal,
): CallRequest {
  const value = input ?? {};
  let principal: Principal | undefined;
  return Object.create(request, {
    body: { value, writable: true },
    query: { value },
    principal: {
      get: () => principal,
      set: (found: Principal) => {
        principal = found;
        (request as AuthenticatedRequest).principal = found; // for the log: all calls have the same token
      },
    },
    callSignal: { value: callSignal },
    [BODY_IS_READ]: { value: true },
  }) as CallRequest;
}
