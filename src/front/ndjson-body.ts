import type { IncomingMessage } from 'node:http';
import { pipeline } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { AppError } from '../errors/app-error';
import { expectLongBody } from './http-front';

const NDJSON = /^application\/(?:x-)?ndjson\s*(?:;\s*charset\s*=\s*"?utf-?8"?\s*)?$/i;

/** Whether a body is announced as one JSON value a line. */
export function isNdjson(contentType: string | undefined): boolean {
  return contentType !== undefined && NDJSON.test(contentType.trim());
}

/**
 * The decoded bytes of a body of any length, no faster than they are taken. Reading rejects when the client leaves,
 * and when the body is not what Content-Encoding says.
 * @throws AppError UNSUPPORTED_MEDIA_TYPE for a coding that nobody here knows.
 */
export function bodyStream(request: IncomingMessage): AsyncIterable<Buffer> {
  const decoder = decoderOf(request.headers['content-encoding'] ?? 'identity');
  expectLongBody(request.socket);
  if (!decoder) return request;
  pipeline(request, decoder, () => undefined); // whoever reads the decoder hears of it
  return decoder;
}

function decoderOf(coding: string) {
  switch (coding.trim().toLowerCase()) {
    case 'identity':
      return undefined;
    case 'gzip':
    case 'x-gzip':
      return createGunzip();
    case 'deflate':
      return createInflate();
    case 'br':
      return createBrotliDecompress();
    default:
      throw new AppError(
        'UNSUPPORTED_MEDIA_TYPE',
        'This Content-Encoding is not supported: send identity, gzip, deflate or br.',
      );
  }
}
