import type { ResponseReservation } from '../http/response-memory';
import type { Tenants } from './cache-key';

/**
 * Part of a response that readers share: its text up to the place where readers differ (a cursor is valid for one of
 * them), and the data of the tail that is rendered for each.
 */
export interface SharedResponse {
  /** JSON text in a buffer that nothing else uses (exactBuffer); head and tail are the body. */
  head: Buffer;
  /** Data of every reader's tail: any JSON value. */
  tailData: unknown;
  /** Memory of a large response, reserved until its readers have received it. */
  reservation?: ResponseReservation;
  /** True for what this read alone has found: another one would find more. Those that wait get it, and it is not kept. */
  isTransient?: boolean;
}

/** Part of a response that one reader has: `variant` of the description decides it. */
export interface Rendering {
  /** End of the body; may be empty. */
  tail: string;
  headers: Readonly<Record<string, string>>;
}

export interface ReadDescription {
  /** Owners of the data. Tenants and `query` decide the shared part. */
  tenants: Tenants;
  /** Hash of the canonical query (queryHash). */
  query: string;
  /** Inputs of the rendering: the reader, the spelling of links. */
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

  /** @throws AppError when the read could not run now; called before any work of the read. */
  assertCapacity?(description: D): void;

  /**
   * Reads the shared part until the signal aborts. The read waits for its permit at once, but reads nothing before
   * `ready` resolves, and rejects when that rejects. Large texts are converted to bytes under the permit: V8 promotes
   * objects that wait, and an old promise would retain the text until a full collection.
   */
  abstract read(
    description: D,
    signal?: AbortSignal,
    ready?: Promise<unknown>,
  ): Promise<SharedResponse>;

  /** True when this release can render the data, which another release may have put into the shared tier. */
  abstract accepts(tailData: unknown): boolean;

  abstract render(tailData: unknown, description: D): Rendering;
}

/** Copies slices: a few bytes of Node's shared pool or of a zlib chunk retain 8 or 16 kB that no limit counts. */
export function exactBuffer(bytes: string | Buffer): Buffer {
  if (typeof bytes !== 'string' && bytes.length === bytes.buffer.byteLength) return bytes;
  const buffer = Buffer.allocUnsafeSlow(Buffer.byteLength(bytes));
  if (typeof bytes === 'string') buffer.write(bytes);
  else bytes.copy(buffer);
  return buffer;
}
