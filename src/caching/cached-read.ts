import type { ResponseReservation } from '../http/response-memory';
import type { Tenants } from './cache-key';

/**
 * A response as its readers share it: its text up to where readers differ (cursors that are good for one of them only), and
 * the value that the rest is rendered from.
 */
export interface SharedResponse {
  /** JSON text in a buffer of its own (exactBuffer); with the tail of a rendering it is the whole body. */
  head: Buffer;
  /** Any JSON value. */
  rest: unknown;
  /** The memory of a large response, until its readers have it. */
  reservation?: ResponseReservation;
}

/** The part of a response that is one reader's own. */
export interface Rendering {
  /** The end of the body; may be empty. */
  tail: string;
  headers: Readonly<Record<string, string>>;
}

/** A read that the caller is authorized for, taken from a request. */
export interface ReadDescription {
  /** The owners of the data. Together with `query` they decide the shared response. */
  tenants: Tenants;
  /** Hash of the query in a canonical spelling (queryHash). */
  query: string;
  /** All else that its rendering depends on: the reader, how links are spelled. */
  variant: string;
}

/** The part of a request that a read is taken from; express and node:http both have it. */
export interface ReadRequest {
  url?: string;
  method?: string;
}

/**
 * A kind of read whose responses are cached. The domain parses, reads and renders; this module decides when a kept response
 * may be used again. Epochs make that exact: `currentEpoch` must change with each change of what these tenants can read,
 * before the change is acknowledged.
 */
export abstract class CachedRead<D extends ReadDescription = ReadDescription> {
  /** Names this kind of read in keys, settings and statistics: letters, digits, `_` and `-`. */
  abstract readonly namespace: string;

  /** Parses an authenticated request. @throws AppError when it is invalid. */
  abstract parse(request: ReadRequest): D;

  /** The current epoch of these tenants: `[0-9A-Za-z._-]+`. Equal epochs mean equal responses. */
  abstract currentEpoch(tenants: Tenants): Promise<string>;

  /** Throws the refusal of a read that could not be made now; called before any work for one that has to be. */
  assertCapacity?(description: D): void;

  /**
   * Reads from the source of truth what all readers of the same tenants share, until the signal aborts. A read that waits
   * for a permit makes its large texts while it holds it and resolves with bytes: V8 promotes what has waited, and an old
   * promise retains the text that it was resolved with until a full collection. Nothing is read before `ready` resolves, nor
   * when that rejects; the permit is waited for meanwhile.
   */
  abstract read(
    description: D,
    signal?: AbortSignal,
    ready?: Promise<unknown>,
  ): Promise<SharedResponse>;

  /** Whether a value from the shared tier is a `rest` that this version can render. */
  abstract accepts(rest: unknown): boolean;

  /** Renders one reader's part from the `rest` of the shared response. */
  abstract render(rest: unknown, description: D): Rendering;
}

/**
 * A buffer that owns its memory, for bytes that are kept: a slice of Node's shared pool or of a zlib chunk retains 8 or
 * 16 kB for a few bytes, which no count of bytes would show.
 */
export function exactBuffer(bytes: string | Buffer): Buffer {
  if (typeof bytes !== 'string' && bytes.length === bytes.buffer.byteLength) return bytes;
  const buffer = Buffer.allocUnsafeSlow(Buffer.byteLength(bytes));
  if (typeof bytes === 'string') buffer.write(bytes);
  else bytes.copy(buffer);
  return buffer;
}
