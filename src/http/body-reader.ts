import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { Request, Response } from 'express';
import type { AuthenticatedRequest } from '../auth/principal';
import { serverConfig } from '../platform/config/settings';
import { AppError } from '../platform/errors/app-error';
import { ByteCollector } from '../platform/runtime/byte-collector';
import { EventLoopYielder } from '../platform/runtime/event-loop-yielder';
import { BodyMemoryLimiter, bodyQuotaExceeded, SMALL_BODY_BYTES } from './body-memory-limiter';
import { closeWithResponse } from './connection-state';
import { decompress, decompressorFor } from './content-coding';
import { parseInPieces, parseJsonBytes } from './json-bytes';
import { noteBodyComplete } from './request-context';
import { clientClosed, requestSignal } from './request-signal';

const JSON_TYPE = /^application\/(?:json|[\w!#$&^.+-]+\+json)\s*(?:;|$)/i;
const CHARSET = /;\s*charset\s*=\s*"?([^";\s]+)"?/i;

const BYTES_PER_MB = 1024 * 1024;

/** Decoded body bytes, to which the idempotency key is bound. */
export const RAW_BODY = Symbol('raw body');

/** Set when an adapter has read `body`. */
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

  /** The parsed body. Only members named `metadata` are sure to keep exact numbers. */
  async readBody(request: BodyRequest, response: Response): Promise<unknown> {
    const bytes = await this.readBytes(request, response);
    if (bytes.length <= SMALL_BODY_BYTES) return parseJsonBytes(bytes);
    const signal = requestSignal(response, this.config.requestTimeoutMs);
    return parseInPieces(bytes, this.yielder, signal);
  }

  /** As `readBody`, with the text of all numbers (`keepExactMembers`). */
  async readWholeBody(request: BodyRequest, response: Response): Promise<unknown> {
    const bytes = await this.readBytes(request, response);
    if (bytes.length > SMALL_BODY_BYTES) {
      await this.yielder.yieldIfDue(requestSignal(response, this.config.requestTimeoutMs));
    }
    return parseJsonBytes(bytes);
  }

  /** The bytes, kept on the request, with memory reserved for their value. */
  async readBytes(request: BodyRequest, response: Response): Promise<Buffer> {
    requireJson(request.headers['content-type']);
    const bytes = request[RAW_BODY] ?? (await this.bytesOf(request, response));
    this.memory.reserve(bytes, response);
    request[RAW_BODY] = bytes; // a refused body is not kept with its request
    return bytes;
  }

  /** Decompresses complete bodies as far as the quota allows: 10 kB may become 10 MB. */
  private async bytesOf(request: BodyRequest, response: Response): Promise<Buffer> {
    const { requestMaxSizeBytes: limit, requestTimeoutMs } = this.config;
    const newDecompressor = decompressorFor(request.headers['content-encoding']);
    if (Number(request.headers['content-length']) > limit) throw tooLarge(response, limit);
    const { readQuota, decompressions } = this.memory;
    // tRPC batches are read before their token is verified.
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

  /** `take` is called before each chunk is kept, and throws to refuse the body. */
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

/** True for a body of unknown length too. */
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

function tooLarge(response: Response, limitBytes: number): AppError {
  closeWithResponse(response);
  return bodyTooLarge(limitBytes);
}

function bodyTooLarge(limitBytes: number): AppError {
  const limit = `${limitBytes / BYTES_PER_MB} MB (REQUEST_MAX_SIZE_MB)`;
  return new AppError('REQUEST_TOO_LARGE', `The body is larger than ${limit}; send it in parts.`);
}
