import type { Request, Response } from 'express';
import type { TokenVerifier } from '../auth/token-verifier';
import { validationFailed } from '../errors/app-error';
import { askForBody } from '../front/front-request';
import { hasBody, type JsonBodyInterceptor } from '../front/json-body.interceptor';

/**
 * The inputs of the calls of a POST. They are read here and not by tRPC, so that limits, errors and exact numbers are
 * those of every body; nobody without a token makes the service read one.
 */
export class CallInputs {
  private body: Promise<unknown> | undefined;

  constructor(
    private readonly request: Request,
    private readonly response: Response,
    private readonly reader: JsonBodyInterceptor,
    private readonly verifier: TokenVerifier,
  ) {}

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
      await this.verifier.verify(this.request.headers.authorization);
      askForBody(this.request);
    } catch {
      // Each call is told why.
    }
  }

  private async read(): Promise<unknown> {
    await this.verifier.verify(this.request.headers.authorization);
    return this.reader.readBody(this.request, this.response);
  }
}
