import { Injectable } from '@nestjs/common';
import type { ServerResponse } from 'node:http';
import { getHeapStatistics } from 'node:v8';
import { AppError } from '../platform/errors/app-error';
import { Quota } from '../platform/runtime/quota';
import { DecompressionPermits } from './content-coding';

/**
 * Share of the heap for bodies and their values. With 1/4, heaps of 128 and 256 MB survived every body that ended the
 * process before: 10 MB of `{},`, of `[],` or of `0,`, 800 000 members, forty bulk bodies at once.
 */
const HEAP_SHARE = 1 / 4;
/**
 * Share for bodies that are being read. Their bytes are outside the heap, but clients that stop within a body hold them
 * for up to two minutes (HttpServer), on any number of connections.
 */
const READ_SHARE = 1 / 2;
const SENDER_SHARE = 1 / 2;
/** Smaller bodies are counted by length alone, and parsed at once. */
export const SMALL_BODY_BYTES = 64 * 1024;
/** Copies of a body: bytes, text, and the text in its values. */
const COPIES = 3;
/** Heap bytes of the value for one byte of a body, measured on bodies that consist of this byte. */
const COST = new Uint8Array(256);
COST['{'.charCodeAt(0)] = 80;
COST['['.charCodeAt(0)] = 48;
COST[':'.charCodeAt(0)] = 64;
COST[','.charCodeAt(0)] = 24;
const [ZERO, NINE, DOT, PLUS, MINUS] = [0x30, 0x39, 0x2e, 0x2b, 0x2d];
const [BIG_E, SMALL_E] = [0x45, 0x65];
/** Numbers of at least so many digits rarely fit a double, and are kept as strings as well (lossless-json.ts). */
const LONG_DIGITS = 16;
/**
 * Heap bytes of a number that is kept as a string: of LONG_DIGITS, ending in 0 after a point, or with an exponent; text
 * that looks so inside strings counts too. Digits divided by a point and small numbers such as 0.0000001 are not
 * counted, as MAX_EXACT_NUMBERS bounds them.
 */
const EXACT_NUMBER_COST = 64;

/**
 * Limits the memory of JSON bodies until their responses have ended: 10 MB of `{},` become 270 MB of objects, and a
 * full heap ends the process.
 */
@Injectable()
export class BodyMemoryLimiter {
  /** Bytes of bodies that are being read, by sender. */
  readonly readQuota = bodyReadQuota(getHeapStatistics().heap_size_limit * READ_SHARE);
  readonly decompressions = new DecompressionPermits();
  private readonly holders = new WeakMap<ServerResponse, { bytes: number }>();
  private reservedBytes = 0;

  constructor(private readonly limitBytes = getHeapStatistics().heap_size_limit * HEAP_SHARE) {}

  get reserved(): number {
    return this.reservedBytes;
  }

  /**
   * Reserves memory for a body until `response` has ended; later calls for the same response do nothing.
   * @throws AppError REQUEST_TOO_LARGE (never fits), TOO_MANY_REQUESTS (does not fit now).
   */
  reserve(body: Buffer, response: ServerResponse): void {
    if (this.holders.has(response)) return;
    const bytes = estimateParsedBytes(body);
    this.requireRoom(bytes, bytes);
    if (response.destroyed) return; // `close`, which releases, has been emitted
    const holder = { bytes };
    this.reservedBytes += bytes;
    this.holders.set(response, holder);
    response.once('close', () => {
      this.reservedBytes -= holder.bytes;
    });
  }

  /**
   * Reserves more memory, for a body whose conversion takes more than its value.
   * @throws as `reserve`.
   */
  reserveMore(bytes: number, response: ServerResponse): void {
    const holder = this.holders.get(response);
    if (!holder || response.destroyed) return;
    this.requireRoom(bytes, holder.bytes + bytes);
    holder.bytes += bytes;
    this.reservedBytes += bytes;
  }

  private requireRoom(bytes: number, ofBody: number): void {
    if (ofBody > this.limitBytes) {
      throw new AppError(
        'REQUEST_TOO_LARGE',
        'The body holds more values than this process has memory for; send it in parts.',
      );
    }
    if (this.reservedBytes + bytes > this.limitBytes) {
      throw new AppError('TOO_MANY_REQUESTS', 'Too many large requests are under way.', {
        retryAfterSeconds: 1,
      });
    }
  }
}

/** Creates a quota of body bytes, of which one sender gets at most half. */
export function bodyReadQuota(limitBytes: number): Quota {
  return new Quota(limitBytes, limitBytes * SENDER_SHARE);
}

export function bodyQuotaExceeded(): AppError {
  return new AppError('TOO_MANY_REQUESTS', 'Too many large bodies are being sent at once.', {
    retryAfterSeconds: 1,
  });
}

/** Estimates the memory of a text and its value. Brackets in strings are counted as well, which errs upwards. */
export function estimateParsedBytes(body: Buffer): number {
  let bytes = body.length * COPIES;
  if (body.length <= SMALL_BODY_BYTES) return bytes;
  let digits = 0;
  let isFraction = false;
  for (let at = 0; at < body.length; at += 1) {
    const byte = body[at] ?? 0;
    if (isDigit(byte)) {
      digits += 1;
      if (digits === LONG_DIGITS) bytes += EXACT_NUMBER_COST;
      continue;
    }
    bytes += COST[byte] ?? 0;
    if (digits === 0) {
      isFraction = false;
      continue;
    }
    if (isFraction && body[at - 1] === ZERO) bytes += EXACT_NUMBER_COST;
    else if ((byte === BIG_E || byte === SMALL_E) && beginsExponent(body[at + 1])) {
      bytes += EXACT_NUMBER_COST;
    }
    isFraction = byte === DOT;
    digits = 0;
  }
  return bytes;
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= NINE;
}

function beginsExponent(byte = 0): boolean {
  return isDigit(byte) || byte === PLUS || byte === MINUS;
}
