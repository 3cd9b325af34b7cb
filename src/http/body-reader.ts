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
import { type AuthenticatedRequest, principalKey } from '../auth/principal';
import { serverConfig } from '../platform/config/settings';
import { AppError, validationFailed } from '../platform/errors/app-error';
import { ByteCollector } from '../platform/runtime/byte-collector';
import { EventLoopYielder } from '../platform/runtime/event-loop-yielder';
import { splitJsonArray } from '../platform/runtime/json-array-splitter';
import {
  endOfString,
  MAX_EXACT_NUMBERS,
  parseExactJson,
  UnacceptableJsonError,
} from '../platform/runtime/lossless-json';
import { during, spend } from '../platform/runtime/time-spans';
import { BodyMemoryLimiter, bodyQuotaExceeded, SMALL_BODY_BYTES } from './body-memory-limiter';
import { closeWithResponse } from './connection-state';
import { decompress, decompressorFor } from './content-coding';
import { clientClosed, requestSignal } from './request-context';
import { noteBodyComplete, spansOfResponse } from './request-times';

const JSON_TYPE = /^application\/(?:json|[\w!#$&^.+-]+\+json)\s*(?:;|$)/i;
const CHARSET = /;\s*charset\s*=\s*"?([^";\s]+)"?/i;

const BYTES_PER_MB = 1024 * 1024;

/** Key of the decoded body, to which an idempotency key is bound. */
export const RAW_BODY = Symbol('raw body');

/** Key of the mark that an adapter has already read and parsed the body. */
export const BODY_IS_READ = Symbol('body is read');

export interface BodyRequest extends Request, Pick<AuthenticatedRequest, 'principal'> {
  [RAW_BODY]?: Buffer;
  [BODY_IS_READ]?: boolean;
}

/**
 * Reads JSON bodies within the limits of memory and of decompressed size.
 * @throws AppError UNSUPPORTED_MEDIA_TYPE, REQUEST_TOO_LARGE, TOO_MANY_REQUESTS, MALFORMED_JSON, VALIDATION_FAILED.
 */
@Injectable()
export class BodyReader {
  constructor(
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
    private readonly memory: BodyMemoryLimiter,
    private readonly yielder: EventLoopYielder,
  ) {}

  /** Reads and parses a body. Numbers are exact in members named `metadata` or `changes`, and may be rounded elsewhere. */
  async readBody(request: BodyRequest, response: Response): Promise<unknown> {
    const bytes = await this.readBytes(request, response);
    const spans = spansOfResponse(response);
    if (bytes.length <= SMALL_BODY_BYTES) return spend(spans, 'json', () => parseJsonBytes(bytes));
    const signal = requestSignal(response, this.config.requestTimeoutMs);
    return during(spans, 'json', () => parseInPieces(bytes, this.yielder, signal));
  }

  /** As `readBody`, with exact numbers everywhere (`keepExactMembers`). */
  async readWholeBody(request: BodyRequest, response: Response): Promise<unknown> {
    const bytes = await this.readBytes(request, response);
    if (bytes.length > SMALL_BODY_BYTES) {
      await this.yielder.yieldIfDue(requestSignal(response, this.config.requestTimeoutMs));
    }
    return spend(spansOfResponse(response), 'json', () => parseJsonBytes(bytes));
  }

  /** Reads the bytes of a JSON body, stores them on the request, and reserves memory for their value. */
  async readBytes(request: BodyRequest, response: Response): Promise<Buffer> {
    requireJson(request.headers['content-type']);
    return this.readAnyBytes(request, response);
  }

  /** As `readBytes`, of a media type that its route has checked. */
  async readAnyBytes(request: BodyRequest, response: Response): Promise<Buffer> {
    const bytes = request[RAW_BODY] ?? (await this.bytesOf(request, response));
    this.memory.reserve(bytes, response);
    request[RAW_BODY] = bytes; // a refused body is not kept with its request
    return bytes;
  }

  /** Receives a body, and decompresses it when it is complete. Both count against the quota: 10 kB may become 10 MB. */
  private async bytesOf(request: BodyRequest, response: Response): Promise<Buffer> {
    const { requestMaxSizeBytes: limit, requestTimeoutMs } = this.config;
    const newDecompressor = decompressorFor(request.headers['content-encoding']);
    if (Number(request.headers['content-length']) > limit) throw tooLarge(response, limit);
    const { readQuota, decompressions } = this.memory;
    // A tRPC batch has no principal yet: it is read before its token is verified.
    const { principal, headers } = request;
    const sender = principal ? principalKey(principal) : (headers.authorization ?? '');
    let taken = 0;
    const take = (bytes: number): void => {
      if (!readQuota.acquire(sender, bytes)) throw bodyQuotaExceeded();
      taken += bytes;
    };
    try {
      const arrived = await during(spansOfResponse(response), 'body', () =>
        this.receive(request, response, take),
      );
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

  /** Receives a body. `take` is called before each chunk is stored, and throws to refuse the body. */
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
        body.take();
        request.resume();
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

/** Tells whether a request has a body, of known length or not. */
export function hasBody({ headers }: Request): boolean {
  const { 'content-length': length, 'transfer-encoding': encoding } = headers;
  return encoding !== undefined || Number(length ?? 0) > 0;
}

/**
 * Refuses a body that is not JSON; `alternative` names another media type that its route reads.
 * @throws AppError UNSUPPORTED_MEDIA_TYPE.
 */
export function requireJson(contentType: string | undefined, alternative = ''): void {
  if (contentType === undefined || !JSON_TYPE.test(contentType)) {
    const detail = `Send the body as Content-Type: application/json${alternative}.`;
    throw new AppError('UNSUPPORTED_MEDIA_TYPE', detail);
  }
  requireUtf8(contentType);
}

/** @throws AppError UNSUPPORTED_MEDIA_TYPE for a charset other than UTF-8 and ASCII. */
export function requireUtf8(contentType = ''): void {
  const charset = CHARSET.exec(contentType)?.[1]?.toLowerCase() ?? 'utf-8';
  if (charset !== 'utf-8' && charset !== 'utf8' && charset !== 'us-ascii') {
    throw new AppError('UNSUPPORTED_MEDIA_TYPE', 'JSON is read as UTF-8; no other charset is.');
  }
}

function tooLarge(response: Response, limitBytes: number): AppError {
  closeWithResponse(response);
  return bodyTooLarge(limitBytes);
}

function bodyTooLarge(limitBytes: number): AppError {
  const limit = `${limitBytes / BYTES_PER_MB} MB (REQUEST_MAX_SIZE_MB)`;
  return new AppError('REQUEST_TOO_LARGE', `The body is larger than ${limit}; send it in parts.`);
}

/** Reads the body after the guards, so that only requests with a token cost memory, and before the pipes. */
@Injectable()
abstract class BodyInterceptor implements NestInterceptor {
  constructor(protected readonly reader: BodyReader) {}

  /** @throws as BodyReader. */
  protected abstract read(request: BodyRequest, response: Response): Promise<unknown>;

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const http = context.switchToHttp();
    const request = http.getRequest<BodyRequest>();
    if (!request[BODY_IS_READ]) await this.read(request, http.getResponse<Response>());
    return next.handle();
  }
}

@Injectable()
export class JsonBodyInterceptor extends BodyInterceptor {
  protected async read(request: BodyRequest, response: Response): Promise<void> {
    request.body = await this.reader.readBody(request, response);
  }
}

/** Reads an optional JSON body; a request without one gets `{}`. */
@Injectable()
export class OptionalJsonBodyInterceptor extends BodyInterceptor {
  protected async read(request: BodyRequest, response: Response): Promise<void> {
    request.body = hasBody(request) ? await this.reader.readBody(request, response) : {};
  }
}

/**
 * Reads a body as bytes, for routes whose requests wait for a permit before JsonBodyInterceptor parses them: a value
 * takes several times the memory of its text, and waiting requests must be small.
 */
@Injectable()
export class BodyBytesInterceptor extends BodyInterceptor {
  protected read(request: BodyRequest, response: Response): Promise<Buffer> {
    return this.reader.readBytes(request, response);
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true });
/** Decoder of later pieces, in which U+FEFF is no byte order mark. */
const UTF8_WITHIN = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Decodes and parses a body; numbers keep their text (lossless-json.ts). */
export function parseJsonBytes(bytes: Buffer): unknown {
  if (bytes.length === 0) throw new AppError('MALFORMED_JSON', 'The body is empty.');
  let text: string;
  try {
    text = UTF8.decode(bytes);
  } catch {
    throw new AppError('MALFORMED_JSON', 'The body is not valid UTF-8.');
  }
  try {
    return parseExactJson(text);
  } catch (error) {
    if (error instanceof UnacceptableJsonError) {
      throw validationFailed([{ path: '', message: error.message }]);
    }
    const position = positionIn(String(error), text);
    const before = text.slice(0, position).split('\n');
    const column = (before.at(-1)?.length ?? 0) + 1;
    throw new AppError(
      'MALFORMED_JSON',
      `The body is not well-formed JSON: it breaks at line ${before.length}, column ${column}.`,
    );
  }
}

/**
 * Parses as parseJsonBytes does, but a long list (`{"events":[…]}`) in several iterations of the event loop. An invalid
 * body is parsed again as a whole to find its error.
 * @throws AppError MALFORMED_JSON, VALIDATION_FAILED; the reason of the signal, before the next piece.
 */
export async function parseInPieces(
  bytes: Buffer,
  yielder: EventLoopYielder,
  signal?: AbortSignal,
): Promise<unknown> {
  await yielder.yieldIfDue(signal);
  const split = splitJsonArray(bytes);
  if (!split) return parseJsonBytes(bytes);
  const elements: unknown[] = [];
  const budget = { left: MAX_EXACT_NUMBERS };
  for (const piece of split.pieces) {
    await yielder.yieldIfDue(signal);
    const found = elementsOf(piece, budget);
    if (!found) {
      elements.length = 0; // frees them before the whole is parsed
      return parseJsonBytes(bytes);
    }
    for (const element of found) elements.push(element);
  }
  try {
    const value = parseExactJson(UTF8.decode(split.frame), budget) as Record<string, unknown>;
    const name = JSON.parse(UTF8.decode(split.name)) as string;
    if (Array.isArray(value) || !isEmptyList(value[name])) return parseJsonBytes(bytes);
    value[name] = elements;
    return value;
  } catch {
    return parseJsonBytes(bytes);
  }
}

/** Parses the elements in a piece; undefined when it has none, or is not valid. */
function elementsOf(piece: Buffer, budget: { left: number }): unknown[] | undefined {
  try {
    // Two brackets: the parser's limit of depth counts from the body.
    const [elements] = parseExactJson(`[[${UTF8_WITHIN.decode(piece)}]]`, budget) as unknown[][];
    return elements && elements.length > 0 ? elements : undefined;
  } catch {
    return undefined;
  }
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

/** Finds the position of a syntax error. V8 names it, except for an unexpected token in place of a value. */
function positionIn(message: string, text: string): number {
  const named = /position (\d+)/.exec(message)?.[1];
  if (named !== undefined) return Number(named);
  return message.includes('Unexpected token') ? badValuePosition(text) : text.length;
}

const VALUES = ['true', 'false', 'null'];

/** Returns the position of the first token that is no value, or else the end of the text. */
function badValuePosition(text: string): number {
  let isDue = true;
  let before = '';
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at] ?? '';
    if (' \t\n\r'.includes(char)) continue;
    if (char === '"') at = endOfString(text, at) - 1;
    else if (isDue && !'{[-0123456789'.includes(char) && !(char === ']' && before === '[')) {
      const word = VALUES.find((value) => text.startsWith(value, at));
      if (word === undefined) return at;
      at += word.length - 1;
    }
    isDue = char === ',' || char === ':' || char === '[';
    before = char;
  }
  return text.length;
}
