import type { ResponseReservation } from '../http/response-memory';
import type { Tenants } from './cache-key';

/**
 * Shared part of a response: its text up to where readers differ (cursors valid for one of them), and the value from
 * which the rest is rendered.
 */
export interface SharedResponse {
  /** JSON text in a buffer of its own (exactBuffer); with a rendering's tail the whole body. */
  head: Buffer;
  /** Any JSON value. */
  rest: unknown;
  /** Memory of a large response, until its readers have it. */
  reservation?: ResponseReservation;
}

/** Part of a response that is one reader's own. */
export interface Rendering {
  /** End of the body; may be empty. */
  tail: string;
  headers: Readonly<Record<string, string>>;
}

export interface ReadDescription {
  /** Owners of the data; with `query` they decide the shared response. */
  tenants: Tenants;
  /** Hash of the canonical query (queryHash). */
  query: string;
  /** Other inputs of its rendering: the reader, how links are spelled. */
  variant: string;
}

/** Common part of express's and node:http's requests. */
export interface ReadRequest {
  url?: string;
  method?: string;
}

/**
 * Kind of cached read. The domain parses, reads and renders. Reuse is exact, because `currentVersion` has to change
 * before a change of what these tenants can read is acknowledged.
 */
export abstract class CachedRead<D extends ReadDescription = ReadDescription> {
  /** Name in keys, settings and statistics: letters, digits, `_` and `-`. */
  abstract readonly namespace: string;

  /** Parses an authenticated request. @throws AppError when it is invalid. */
  abstract parse(request: ReadRequest): D;

  /** Current version: `[0-9A-Za-z._-]+`. Equal versions mean equal responses. */
  abstract currentVersion(tenants: Tenants): Promise<string>;

  /** Throws the refusal of a read that could not run now, before any of its work. */
  assertCapacity?(description: D): void;

  /**
   * Reads the shared part until the signal aborts. Nothing is read before `ready` resolves, nor when that rejects; the
   * permit is waited for meanwhile. Large texts are made under the permit and resolve as bytes: V8 promotes what has
   * waited, and an old promise retains its text until a full collection.
   */
  abstract read(
    description: D,
    signal?: AbortSignal,
    ready?: Promise<unknown>,
  ): Promise<SharedResponse>;

  /** True when this release can render a `rest` from the shared tier. */
  abstract accepts(rest: unknown): boolean;

  abstract render(rest: unknown, description: D): Rendering;
}

/** Copies: a slice of Node's shared pool or of a zlib chunk retains 8 or 16 kB, uncounted, for a few bytes. */
export function exactBuffer(bytes: string | Buffer): Buffer {
  if (typeof bytes !== 'string' && bytes.length === bytes.buffer.byteLength) return bytes;
  const buffer = Buffer.allocUnsafeSlow(Buffer.byteLength(bytes));
  if (typeof bytes === 'string') buffer.write(bytes);
  else bytes.copy(buffer);
  return buffer;
}
