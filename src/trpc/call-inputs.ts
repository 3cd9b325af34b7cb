import { Injectable } from '@nestjs/common';
import type { Request, Response } from 'express';
import { TokenVerifier } from '../auth/token-verifier';
import { type LanedRequest, laneOf, noteLargeTurn } from '../concurrency/lane';
import { LargeTurns } from '../concurrency/large-turns';
import { validationFailed } from '../errors/app-error';
import { SMALL_BYTES } from '../front/body-budget';
import { askForBody } from '../front/front-request';
import { hasBody, JsonBodyInterceptor } from '../front/json-body.interceptor';

/** What the inputs of calls are read with. */
@Injectable()
export class InputServices {
  constructor(
    readonly reader: JsonBodyInterceptor,
    readonly verifier: TokenVerifier,
    readonly largeTurns: LargeTurns,
  ) {}
}

/**
 * The inputs of the calls of a POST. They are read here and not by tRPC, so that limits, errors and exact numbers are
 * those of every body; nobody without a token makes the service read one, and what is in a large one is not looked at
 * before its turn among those, which all its calls have together until they are over.
 */
export class CallInputs {
  private body: Promise<unknown> | undefined;
  private end = (): void => undefined;
  private readonly over = new Promise<void>((resolve) => {
    this.end = resolve;
  });

  /** `calls` says how many there are; `signal` aborts when the client leaves. */
  constructor(
    private readonly request: Request,
    private readonly response: Response,
    private readonly services: InputServices,
    private readonly left: { calls: number; signal: AbortSignal },
  ) {
    response.once('close', () => this.end());
  }

  /** Notes that one of the calls has been answered, be it with something that goes on. */
  countAnswered(): void {
    this.left.calls -= 1;
    if (this.left.calls === 0) this.end();
  }

  /** The input of a call; undefined when it has none. @throws AppError UNAUTHENTICATED, and what reading a body throws. */
  async of(batchIndex: number, isBatch: boolean): Promise<unknown> {
    if (!hasBody(this.request)) return undefined;
    this.body ??= this.read();
    const body = await this.body;
    if (!isBatch) return body;
    if (typeof body !== 'object' || body === null || Array.isArray(body)) {
      const message = 'must be an object with the inputs of the batch by index';
      throw validationFailed([{ path: '', message }]);
    }
    return (body as Record<string, unknown>)[String(batchIndex)];
  }

  /** Has a client send its body that waits to be told so, if it may be read. */
  async ask(): Promise<void> {
    if (!hasBody(this.request)) return;
    try {
      await this.services.verifier.verify(this.request.headers.authorization);
      askForBody(this.request);
    } catch {
      // Each call is told why.
    }
  }

  private async read(): Promise<unknown> {
    const { request, response } = this;
    const { signal } = this.left;
    const { reader, verifier, largeTurns } = this.services;
    const lane = laneOf(await verifier.verify(request.headers.authorization));
    const { length } = await reader.readBytes(request, response);
    if (length <= SMALL_BYTES) return reader.readBody(request, response);
    return new Promise((resolve, reject) => {
      const work = (): Promise<unknown> => {
        noteLargeTurn(request as LanedRequest);
        resolve(reader.readBody(request, response));
        return this.over;
      };
      largeTurns.run({ lane, signal, isTold: true }, work).catch(reject);
    });
  }
}
