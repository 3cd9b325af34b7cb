import {
  type CallHandler,
  type ExecutionContext,
  Inject,
  Injectable,
  type NestInterceptor,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import express, { type Request, type RequestHandler, type Response } from 'express';
import type { Observable } from 'rxjs';
import type { AuthenticatedRequest } from '../auth/authenticated-request';
import { serverConfig } from '../config/server.config';
import { AppError } from '../errors/app-error';
import { BodyBudget, SMALL_BYTES } from './body-budget';
import { endWithAnswer } from './connection-state';
import { parseInPieces, parseJsonBytes } from './json-bytes';
import { LoopPortions } from './loop-portions';
import { clientClosed, patienceOf } from './patience';
import { noRoomToRead } from './reading-room';
import { noteWhole } from './request-context';

const JSON_TYPE = /^application\/(?:json|[\w!#$&^.+-]+\+json)\s*(?:;|$)/i;
const CHARSET = /;\s*charset\s*=\s*"?([^";\s]+)"?/i;

const BYTES_PER_MB = 1024 * 1024;

/** Bytes that deflate makes of one at most (https://zlib.net/zlib_tech.html). */
const DEFLATE_RATIO = 1032;

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
  private readonly read: RequestHandler;

  constructor(
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
    private readonly budget: BodyBudget,
    private readonly portions: LoopPortions,
  ) {
    this.read = express.raw({ type: () => true, limit: config.requestMaxSizeBytes });
  }

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
    if (bytes.length <= SMALL_BYTES) return parseJsonBytes(bytes);
    const signal = patienceOf(response, this.config.requestTimeoutMs);
    return parseInPieces(bytes, this.portions, signal);
  }

  /** The same, with the text of all numbers (`keepExactMembers`). @throws AppError as said above. */
  async readWholeBody(request: BodyRequest, response: Response): Promise<unknown> {
    const bytes = await this.readBytes(request, response);
    if (bytes.length > SMALL_BYTES) {
      await this.portions.next(patienceOf(response, this.config.requestTimeoutMs));
    }
    return parseJsonBytes(bytes);
  }

  /** Reads the bytes of the body and leaves them on the request, with room for what they say. @throws AppError as above. */
  async readBytes(request: BodyRequest, response: Response): Promise<Buffer> {
    requireJson(request.headers['content-type']);
    // Somebody before may have read it already.
    const bytes = request[RAW_BODY] ?? (await this.bytesOf(request, response));
    request[RAW_BODY] = bytes;
    this.budget.hold(bytes, response);
    return bytes;
  }

  private async bytesOf(request: BodyRequest, response: Response): Promise<Buffer> {
    if (Number(request.headers['content-length']) > this.config.requestMaxSizeBytes) {
      throw tooLarge(response, this.config.requestMaxSizeBytes);
    }
    let giveBack = (): void => undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        const known = listenersOf(request);
        let isSettled = false;
        void this.read(request, response, (error?: unknown) => {
          isSettled = true;
          if (!error) return resolve();
          reject(this.bodyError(error as Error, request.headers['content-encoding']));
        });
        if (isSettled) return;
        giveBack = this.takeRoom(request, response, (reason) => {
          leaveUnread(request, known);
          reject(reason);
        });
      });
    } finally {
      giveBack();
    }
    noteWhole(response);
    return Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  }

  /** What body-parser rejects with, made an error that toAppError knows: a broken gzip stream has no type of its own. */
  private bodyError(error: Error, encoding: string | undefined): Error {
    const { type } = error as Error & { type?: unknown };
    if (type === 'entity.too.large') return bodyTooLarge(this.config.requestMaxSizeBytes);
    if (type === undefined && encoding !== undefined) {
      return new AppError('MALFORMED_JSON', 'The body is not what Content-Encoding says it is.');
    }
    return error;
  }

  /** Takes room for what comes of a body, as it comes, and refuses the rest when there is none. */
  private takeRoom(
    request: BodyRequest,
    response: Response,
    leave: (reason: AppError) => void,
  ): () => void {
    const { room } = this.budget;
    // A door that has one path for many calls knows its token, and not yet who that is.
    const sender = request.principal?.subject ?? request.headers.authorization ?? '';
    const limit = this.config.requestMaxSizeBytes;
    const ratio = ratioOf(request.headers['content-encoding'], limit);
    let taken = 0;
    let arrived = 0;
    const onData = (chunk: Buffer): void => {
      arrived += chunk.length;
      if (arrived > limit) return leave(tooLarge(response, limit));
      const more = Math.min(arrived * ratio, limit) - taken;
      if (more <= 0) return; // beyond the limit it is refused anyway
      if (room.take(sender, more)) taken += more;
      else leave(noRoomToRead());
    };
    // Who reads what is inflated hears of the end of that alone, and never of a client that leaves before it.
    const onClose = (): void => {
      if (!request.complete) leave(clientClosed());
    };
    request.on('data', onData).on('close', onClose);
    return () => {
      request.off('data', onData).off('close', onClose);
      room.giveBack(sender, taken);
    };
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
  endWithAnswer(response);
  return bodyTooLarge(limitBytes);
}

function bodyTooLarge(limitBytes: number): AppError {
  const limit = `${limitBytes / BYTES_PER_MB} MB (REQUEST_MAX_SIZE_MB)`;
  return new AppError('REQUEST_TOO_LARGE', `The body is larger than ${limit}; send it in parts.`);
}

/** What raw-body, which reads it, listens to. */
const READING_EVENTS = ['aborted', 'close', 'data', 'end', 'error'];

function listenersOf(request: Request): Set<unknown> {
  return new Set(READING_EVENTS.flatMap((event) => request.listeners(event)));
}

/** Lets go of who reads a body, and thereby of what he has of it, and lets the rest go by. */
function leaveUnread(request: Request, known: Set<unknown>): void {
  request.unpipe();
  for (const event of READING_EVENTS) {
    for (const listener of request.listeners(event)) {
      if (!known.has(listener)) request.off(event, listener as () => void);
    }
  }
  request.resume();
}

/** How many bytes one that arrives can become. */
function ratioOf(coding: string | undefined, limit: number): number {
  if (coding === undefined || coding === 'identity') return 1;
  return coding === 'br' ? limit : DEFLATE_RATIO;
}
