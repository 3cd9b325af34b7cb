import type { ResponseReservation } from '../http/response-memory';
import type { Tenants } from './cache-key';

/**
 * An answer as its readers share it: its text up to where it begins to differ between readers (cursors that are
 * good for one of them alone), and what the rest is made of.
 */
export interface SharedResponse {
  /** JSON text, its bytes in a buffer of their own (exactBuffer); together with a rendering's tail it is the whole body. */
  head: Buffer;
  /** Any JSON value. */
  rest: unknown;
  /** The memory of a large answer, until its readers have it. */
  reservation?: ResponseReservation;
}

/** What one reader gets beyond what all share. */
export interface Rendering {
  /** The end of the body; may be empty. */
  tail: string;
  headers: Readonly<Record<string, string>>;
}

/** A read that somebody may make, taken from a request. */
export interface ReadDescription {
  /** Whose data the answer holds. Together with `query` it decides the shared answer. */
  tenants: Tenants;
  /** Hash of the query in a canonical spelling (queryHash). */
  query: string;
  /** Whatever else of the request its rendering depends on: the reader, how links are spelled. */
  variant: string;
}

/** The part of a request that a read is taken from; express and node:http both have it. */
export interface ReadRequest {
  url?: string;
  method?: string;
}

/**
 * A kind of read whose answers are cached. The domain says what is asked, how it is read and how it looks; this
 * module decides when an answer that was kept may be given again. Epochs make that exact: `currentEpoch` must change
 * with each change of what these tenants can read, before whoever made the change is told of it.
 */
export abstract class CachedRead<D extends ReadDescription = ReadDescription> {
  /** Names this kind of read in keys, settings and statistics: letters, digits, `_` and `-`. */
  abstract readonly namespace: string;

  /** What an authenticated request asks for. @throws AppError when it cannot be answered. */
  abstract parse(request: ReadRequest): D;

  /** The present epoch of these tenants: `[0-9A-Za-z._-]+`. Equal epochs mean equal answers. */
  abstract currentEpoch(tenants: Tenants): Promise<string>;

  /** Throws what a read would be refused with right now: asked before anything is done for one that has to be made. */
  assertCapacity?(description: D): void;

  /**
   * Reads the answer from where it is kept for good, as far as all readers of the same tenants share it; when the signal
   * aborts, nobody waits for it any more. One that waits for a turn makes its large texts within the turn and resolves
   * with bytes: what has waited is old to V8, and an old promise keeps the text that it was resolved with until a full collection.
   * Nothing is read before `ready` resolves, and nothing when it fails; a turn is waited for meanwhile.
   */
  abstract read(
    description: D,
    signal?: AbortSignal,
    ready?: Promise<unknown>,
  ): Promise<SharedResponse>;

  /** Whether a value that came from the tier that replicas share is a `rest` that this version can render. */
  abstract accepts(rest: unknown): boolean;

  /** What one reader gets beyond the shared text; `rest` is that of the shared answer. */
  abstract render(rest: unknown, description: D): Rendering;
}
