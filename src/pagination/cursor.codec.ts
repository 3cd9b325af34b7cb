import { createHmac, createSecretKey, timingSafeEqual, type KeyObject } from 'node:crypto';
import { AppError } from '../platform/errors/app-error';

const MAC_BYTES = 16;
const VERSION = '1';

/**
 * Opaque, authenticated cursors. A cursor holds a position (any JSON value) and a MAC over the position and the binding
 * (principal, filter, sort). It does not hold the binding, and so stays short and discloses nothing of it.
 */
export class CursorCodec {
  private readonly key: KeyObject;

  /** @param key at least 32 secret bytes, the same on every replica. */
  constructor(key: Buffer) {
    this.key = createSecretKey(key);
  }

  /** Makes a URL-safe cursor, which is valid only with the same `binding`. */
  encode(position: unknown, binding: string): string {
    const payload = Buffer.from(JSON.stringify(position));
    return Buffer.concat([this.macOf(payload, binding), payload]).toString('base64url');
  }

  /**
   * Returns the position in a cursor.
   * @throws AppError INVALID_CURSOR for a cursor that was changed, or made with another binding.
   */
  decode(cursor: string, binding: string): unknown {
    const bytes = Buffer.from(cursor, 'base64url');
    // Decoding ignores characters outside base64url; only the canonical spelling is accepted.
    if (bytes.length > MAC_BYTES && bytes.toString('base64url') === cursor) {
      const payload = bytes.subarray(MAC_BYTES);
      if (timingSafeEqual(bytes.subarray(0, MAC_BYTES), this.macOf(payload, binding))) {
        return JSON.parse(payload.toString()) as unknown;
      }
    }
    throw new AppError(
      'INVALID_CURSOR',
      'The cursor was changed, or belongs to another principal, filter or sort: start from the first page.',
      { errors: [{ path: 'cursor', message: 'must be one that this very query returned' }] },
    );
  }

  private macOf(payload: Buffer, binding: string): Buffer {
    return createHmac('sha256', this.key)
      .update(`${VERSION}:${binding.length}:${binding}:`)
      .update(payload)
      .digest()
      .subarray(0, MAC_BYTES);
  }
}
