import {
  type CallHandler,
  type ExecutionContext,
  Inject,
  Injectable,
  type NestInterceptor,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { Request, Response } from 'express';
import type { Observable } from 'rxjs';
import type { AuthenticatedRequest } from '../auth/authenticated-request';
import { serverConfig } from '../platform/config/server.config';
import { AppError } from '../platform/errors/app-error';
import { BodyMemoryLimiter, bodyQuotaExceeded, SMALL_BODY_BYTES } from './body-memory-limiter';
import { ByteCollector } from '../platform/runtime/byte-collector';
import { closeWithResponse } from './connection-state';
import { decompress, decompressorFor } from './content-coding';
import { parseInPieces, parseJsonBytes } from './json-bytes';
import { EventLoopYielder } from '../platform/runtime/event-loop-yielder';
import { clientClosed, requestSignal } from './request-signal';
import { noteBodyComplete } from './request-context';

const JSON_TYPE = /^application\/(?:json|[\w!#$&^.+-]+\+json)\s*(?:;|$)/i;
const CHARSET = /;\s*charset\s*=\s*"?([^";\s]+)"?/i;

const BYTES_PER_MB = 1024 * 1024;

/** The decoded bytes of a request's body, as the idempotency key is bound to them. */
export const RAW_BODY = Symbol('raw body');

/** On a request whose `body` is there already, because its door has read it. */
export const BODY_IS_READ = Symbol('body is read');

/** A request whose body this interceptor has read. */
export interface BodyRequest extends Request, Pick<AuthenticatedRequest, 'principal'> {
  [RAW_BODY]?: Buffer;
  [BODY_IS_READ]?: boolean;
}

/**
 * Reads a JSON body for the routes it stands on. It runs behind the guards, so that nobody without a token makes the
 * service read megabytes, and before the pipes. Compressed bodies are inflated, the limit holds for what they become.
 * @throws AppError UNSUPPORTED_MEDIA_TYPE, REQUEST_TOO_LARGE, TOO_MANY_REQUESTS, MALFORMED_JSON, VALIDATION_FAILED.
 */
@Injectable()
export class JsonBodyInterceptor implements NestInterceptor {
  constructor(
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
    private readonly budget: BodyMemoryLimiter,
    private readonly portions: EventLoopYielder,
  ) {}

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const http = context.switchToHttp();
    const request = http.getRequest<BodyRequest>();
    if (!request[BODY_IS_READ]) {
      request.body = await this.readBody(request, http.getResponse<Response>());
    }
    return next.handle();
  }

  /**
   * What the body says; its bytes are left on the request. Only members named `metadata` are sure to have the text of
   * their numbers. @throws AppError as said above.
   */
  async readBody(request: BodyRequest, response: Response): Promise<unknown> {
    const bytes = await this.readBytes(request, response);
    if (bytes.length <= SMALL_BODY_BYTES) return parseJsonBytes(bytes);
    const signal = requestSignal(response, this.config.requestTimeoutMs);
    return parseInPieces(bytes, this.portions, signal);
  }

  /** The same, with the text of all numbers (`keepExactMembers`). @throws AppError as said above. */
  async readWholeBody(request: BodyRequest, response: Response): Promise<unknown> {
    const bytes = await this.readBytes(request, response);
    if (bytes.length > SMALL_BODY_BYTES) {
      await this.portions.yieldIfDue(requestSignal(response, this.config.requestTimeoutMs));
    }
    return parseJsonBytes(bytes);
  }

  /** Reads the bytes of the body and leaves them on the request, with room for what they say. @throws AppError as above. */
  async readBytes(request: BodyRequest, response: Response): Promise<Buffer> {
    requireJson(request.headers['content-type']);
    // Somebody before may have read it already.
    const bytes = request[RAW_BODY] ?? (await this.bytesOf(request, response));
    this.budget.reserve(bytes, response);
    request[RAW_BODY] = bytes; // a refused body is not kept with its request
    return bytes;
  }

  /**
   * The bytes of a body, decompressed. Nothing is decompressed before all of it has come, and no more of it than there is
   * room for: a body of 10 kB may become 10 MB.
   */
  private async bytesOf(request: BodyRequest, response: Response): Promise<Buffer> {
    const { requestMaxSizeBytes: limit, requestTimeoutMs } = this.config;
    const newDecompressor = decompressorFor(request.headers['content-encoding']);
    if (Number(request.headers['content-length']) > limit) throw tooLarge(response, limit);
    const { readQuota, decompressions } = this.budget;
    // On a path for many calls the token is known, and not yet whose it is.
    const sender = request.principal?.subject ?? request.headers.authorization ?? '';
    let taken = 0;
    const take = (bytes: number): void => {
      if (!readQuota.acquire(sender, bytes)) throw bodyQuotaExceeded();
      taken += bytes;
    };
    try {
      const arrived = await this.receive(request, response, take);
      noteBodyComplete(response);
      if (!newDecompressor || arrived.length === 0) return arrived;
      let decompressed = 0;
      const takeDecompressed = (bytes: number): void => {
        decompressed += bytes;
        if (decompressed > limit) throw bodyTooLarge(limit);
        take(bytes);
      };
      const signal = requestSignal(response, requestTimeoutMs);
      return await decompressions.run(sender, signal, () =>
        decompress(arrived, newDecompressor(), { take: takeDecompressed, signal }),
      );
    } finally {
      readQuota.release(sender, taken);
    }
  }

  /** The bytes of a body as they come. `take` is asked before each of them is kept. */
  private async receive(
    request: BodyRequest,
    response: Response,
    take: (bytes: number) => void,
  ): Promise<Buffer> {
    if (!hasBody(request) || request.readableEnded) return Buffer.alloc(0);
    if (request.destroyed) throw clientClosed();
    const limit = this.config.requestMaxSizeBytes;
    const body = new ByteCollector();
    return new Promise<Buffer>((resolve, reject) => {
      const settle = (done: () => void): void => {
        request.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose);
        done();
      };
      const refuse = (error: Error): void => {
        settle(() => reject(error));
        body.take(); // let go of
        request.resume(); // the rest goes by unread
      };
      const onData = (chunk: Buffer): void => {
        if (body.length + chunk.length > limit) return refuse(tooLarge(response, limit));
        try {
          take(chunk.length);
          body.add(chunk);
        } catch (error) {
          refuse(error as Error);
        }
      };
      const onEnd = (): void => settle(() => resolve(body.take()));
      const onClose = (): void => settle(() => reject(clientClosed()));
      request.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose);
    });
  }
}

/**
 * Reads the bytes of a JSON body and no more, for routes on which it is read (JsonBodyInterceptor) only when it is the
 * turn of its request: values take several times the room of their text, and what waits is to be small.
 */
@Injectable()
export class BodyBytesInterceptor implements NestInterceptor {
  constructor(private readonly reader: JsonBodyInterceptor) {}

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const http = context.switchToHttp();
    const request = http.getRequest<BodyRequest>();
    if (!request[BODY_IS_READ]) await this.reader.readBytes(request, http.getResponse<Response>());
    return next.handle();
  }
}

/** The same for a body that may be left out, which means an empty object. */
@Injectable()
export class OptionalJsonBodyInterceptor extends JsonBodyInterceptor {
  override async intercept(
    context: ExecutionContext,
    next: CallHandler,
  ): Promise<Observable<unknown>> {
    const request = context.switchToHttp().getRequest<BodyRequest>();
    if (request[BODY_IS_READ] || hasBody(request)) return super.intercept(context, next);
    request.body = {};
    return next.handle();
  }
}

/** Whether a request brings a body, be it only of unknown length. */
export function hasBody({ headers }: Request): boolean {
  const { 'content-length': length, 'transfer-encoding': encoding } = headers;
  return encoding !== undefined || Number(length ?? 0) > 0;
}

function requireJson(contentType: string | undefined): void {
  if (contentType === undefined || !JSON_TYPE.test(contentType)) {
    throw new AppError(
      'UNSUPPORTED_MEDIA_TYPE',
      'Send the body as Content-Type: application/json.',
    );
  }
  const charset = CHARSET.exec(contentType)?.[1]?.toLowerCase() ?? 'utf-8';
  if (charset !== 'utf-8' && charset !== 'utf8' && charset !== 'us-ascii') {
    throw new AppError('UNSUPPORTED_MEDIA_TYPE', 'JSON is read as UTF-8; no other charset is.');
  }
}

/** Refuses a body before all of it has come: that can be long. */
function tooLarge(response: Response, limitBytes: number): AppError {
  closeWithResponse(response);
  return bodyTooLarge(limitBytes);
}

function bodyTooLarge(limitBytes: number): AppError {
  const limit = `${limitBytes / BYTES_PER_MB} MB (REQUEST_MAX_SIZE_MB)`;
  return new AppError('REQUEST_TOO_LARGE', `The body is larger than ${limit}; send it in parts.`);
}
