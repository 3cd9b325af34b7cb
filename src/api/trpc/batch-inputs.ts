import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { Request, Response } from 'express';
import { TokenVerifier } from '../../auth/token-verifier';
import { type FlowRequest, flowKey } from '../../concurrency/flow';
import { LargeBodyLimiter } from '../../concurrency/large-body-limiter';
import { serverConfig } from '../../platform/config/server.config';
import { validationFailed } from '../../platform/errors/app-error';
import { askForBody } from '../../http/server-request';
import { hasBody, JsonBodyInterceptor } from '../../http/json-body.interceptor';
import { requestSignal } from '../../http/request-signal';

/** What the inputs of calls are read with. */
@Injectable()
export class InputServices {
  constructor(
    readonly reader: JsonBodyInterceptor,
    readonly verifier: TokenVerifier,
    readonly largeBodies: LargeBodyLimiter,
    @Inject(serverConfig.KEY) readonly config: ConfigType<typeof serverConfig>,
  ) {}
}

/**
 * The inputs of the calls of a POST. They are read here and not by tRPC, so that limits, errors and exact numbers are
 * those of every body; nobody without a token makes the service read one, and what is in a large one is not looked at
 * before its turn among those, which all its calls have together until they are over.
 */
export class BatchInputs {
  private body: Promise<unknown> | undefined;
  private running = 0;
  private end = (): void => undefined;
  private readonly over = new Promise<void>((resolve) => {
    this.end = resolve;
  });

  constructor(
    private readonly request: Request,
    private readonly response: Response,
    private readonly services: InputServices,
  ) {
    response.once('close', () => this.end());
  }

  /** Notes that one of the calls has begun. All of a batch have, before the first can be answered: they want the body. */
  begin(): void {
    this.running += 1;
  }

  /** Notes that one that had begun has been answered, be it with something that goes on. */
  countRead(): void {
    this.running -= 1;
    if (this.running === 0) this.end();
  }

  /** Whether all calls have been answered. */
  get isRead(): boolean {
    return this.running === 0;
  }

  /** The input of a call; undefined when it has none. @throws AppError UNAUTHENTICATED, and what reading a body throws. */
  async of(batchIndex: number, isBatch: boolean): Promise<unknown> {
    if (!hasBody(this.request)) return undefined;
    this.body ??= this.readBody();
    const body = await this.body;
    if (!isBatch) return body;
    if (typeof body !== 'object' || body === null || Array.isArray(body)) {
      const message = 'must be an object with the inputs of the batch by index';
      throw validationFailed([{ path: '', message }]);
    }
    return (body as Record<string, unknown>)[String(batchIndex)];
  }

  /** Has a client send its body that waits to be told so, if it may be read. */
  async read(): Promise<void> {
    if (!hasBody(this.request)) return;
    try {
      await this.services.verifier.verify(this.request.headers.authorization);
      askForBody(this.request);
    } catch {
      // Each call is told why.
    }
  }

  private async readBody(): Promise<unknown> {
    const { request, response } = this;
    const { reader, verifier, largeBodies, config } = this.services;
    const flow = flowKey(await verifier.verify(request.headers.authorization));
    const { length: bytes } = await reader.readBytes(request, response);
    const signal = requestSignal(response, config.requestTimeoutMs);
    return new Promise((resolve, reject) => {
      const work = (): Promise<void> => {
        resolve(reader.readBody(request, response));
        return this.over;
      };
      largeBodies.workAt(request as FlowRequest, { bytes, flow, signal }, work).catch(reject);
    });
  }
}
