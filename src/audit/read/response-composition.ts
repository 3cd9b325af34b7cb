import { Injectable } from '@nestjs/common';
import type { Principal } from '../../auth/principal';
import type { CachedRead, ReadDescription } from '../../caching/cached-read';
import { type Loaded, ResponseCache } from '../../caching/response-cache';
import { flowKey } from '../../concurrency/fair-scheduler';
import { ResponsePermits } from '../../concurrency/response-permits';
import { estimateParsedBytes } from '../../http/body-memory-limiter';
import { clientClosed } from '../../http/request-context';
import {
  OutOfResponseMemory,
  ResponseMemory,
  type ResponseReservation,
} from '../../http/response-memory';
import { AppError } from '../../platform/errors/app-error';
import {
  MAX_EXACT_NUMBERS,
  parseJsonWithPlaceholders,
  UnacceptableJsonError,
} from '../../platform/runtime/lossless-json';
import type { AuditEventSearchDto } from './dto/audit-event-search.dto';

export interface SearchOptions {
  path: string;
  /** Makes the signal of the response's close. */
  signal?: () => AbortSignal;
  /** The response around this part: its parts are read one after the other, and bounded together. */
  response?: ComposedResponse;
  /** Copies of the part in the response; 1 by default. */
  copies?: number;
  /** Selections of the cursor of each event of a page; none by default. */
  cursors?: number;
}

/** One response of several reads. Its owner ends it on every path. */
export class ComposedResponse {
  private readonly work: (() => void)[] = [];
  private isOver = false;

  get isHeld(): boolean {
    return this.work.length > 0;
  }

  /** Calls `release` once the response has been written to its connection or never will be; at once after that. */
  whenSent(release: () => void): void {
    if (this.isOver) release();
    else this.work.push(release);
  }

  end(): void {
    this.isOver = true;
    for (const release of this.work.splice(0)) release();
  }
}

/** Characters of all parts of a response, which is composed in memory in several copies. */
const MAX_RESPONSE_CHARACTERS = 32 * 1024 * 1024;

const TOO_MANY_NUMBERS = `hold more than ${MAX_EXACT_NUMBERS} numbers that a double cannot`;

interface ResponseParts {
  characters: number;
  numbersLeft: number;
  reservation: ResponseReservation;
  last: Promise<unknown>;
  /** True after the response, with or without all of its parts: GraphQL responds at the first failed field. */
  isSent: boolean;
  stopWaiting?: (() => void) | undefined;
}

export interface PartRequest<D extends ReadDescription> {
  principal: Principal;
  read: CachedRead<D>;
  description: D;
  search?: Pick<AuditEventSearchDto, 'useCache' | 'cacheTTL'>;
  options: PartOptions;
  /** Characters that the response has beside the part, by what was read. */
  beside?: (loaded: Loaded) => number;
}

export type PartOptions = SearchOptions & { isParsed?: boolean };

/**
 * Bytes of memory per byte of a text part: its string and the response's, two bytes a character at worst, and the
 * response's bytes. Also per copy of a parsed part, beside its values.
 */
const COPIES_OF_TEXT = 5;
const COPIES_OF_VALUES = 3;
const SMALL_PART_BYTES = 64 * 1024;

/** Composes responses of several reads, one after the other, bounded together and counted with their results. */
@Injectable()
export class ResponseComposition {
  private readonly parts = new WeakMap<object, ResponseParts>();

  constructor(
    private readonly cache: ResponseCache,
    private readonly memory: ResponseMemory,
    private readonly permits: ResponsePermits,
  ) {}

  /**
   * Reads a part after those before it, unless they leave no memory for it.
   * @throws AppError REQUEST_TOO_LARGE; CLIENT_CLOSED when the response is over; TOO_MANY_REQUESTS, QUEUE_TIMEOUT; the
   * signal's reason; what reading throws.
   */
  part<D extends ReadDescription>(request: PartRequest<D>): Promise<Loaded> {
    const { options, beside } = request;
    const { response, copies = 1 } = options;
    const read = (): Promise<Loaded> => this.load(request);
    if (!response) return read();
    const parts = this.partsOf(response);
    const reading = parts.last.then(async () => {
      requireUnsent(parts);
      assertCapacity(parts);
      const loaded =
        (await this.readWithin(parts, request, read)) ??
        (await this.readWithPermit(parts, request, read));
      requireUnsent(parts); // its reservation counts nothing any more
      parts.characters += loaded.entry.headBytes * copies + (beside?.(loaded) ?? 0);
      assertCapacity(parts);
      return loaded;
    });
    parts.last = reading.catch(() => undefined);
    return reading;
  }

  /** A part as a value; its numbers count once per copy. @throws AppError REQUEST_TOO_LARGE. */
  parse(text: string, { response, copies = 1 }: SearchOptions): unknown {
    const parts = response && this.parts.get(response);
    const budget = { left: (parts?.numbersLeft ?? MAX_EXACT_NUMBERS) / copies };
    try {
      return parseJsonWithPlaceholders(text, budget);
    } catch (error) {
      if (error instanceof UnacceptableJsonError) throw responseTooLarge(TOO_MANY_NUMBERS);
      throw error;
    } finally {
      if (parts) parts.numbersLeft = budget.left * copies;
    }
  }

  private partsOf(response: ComposedResponse): ResponseParts {
    const known = this.parts.get(response);
    if (known) return known;
    const parts: ResponseParts = {
      characters: 0,
      numbersLeft: MAX_EXACT_NUMBERS,
      reservation: this.memory.reserve(),
      last: Promise.resolve(),
      isSent: false,
    };
    response.whenSent(() => {
      parts.isSent = true;
      parts.reservation.release();
      parts.stopWaiting?.();
    });
    this.parts.set(response, parts);
    return parts;
  }

  /** Reads a part and reserves memory for its result; undefined when other responses hold too much. */
  private async readWithin<D extends ReadDescription>(
    { reservation }: ResponseParts,
    request: PartRequest<D>,
    read: () => Promise<Loaded>,
  ): Promise<Loaded | undefined> {
    const loaded = await read();
    try {
      reserveFor(reservation, loaded, request);
      return loaded;
    } catch (error) {
      if (error instanceof OutOfResponseMemory) return undefined;
      throw error;
    }
  }

  /** Reads with a permit, which the response keeps. Waiting releases the part that was read before. */
  private async readWithPermit<D extends ReadDescription>(
    parts: ResponseParts,
    request: PartRequest<D>,
    read: () => Promise<Loaded>,
  ): Promise<Loaded> {
    const { principal, options } = request;
    requireUnsent(parts);
    const before = parts.reservation;
    const reservation = await this.permitFor(parts, principal, options.signal?.());
    if (parts.isSent) {
      reservation.release(); // the end of the response has released the one before it
      throw clientClosed();
    }
    parts.reservation = reservation;
    try {
      reservation.resize(before.held);
    } finally {
      before.release();
    }
    const loaded = await read();
    reserveFor(reservation, loaded, request);
    return loaded;
  }

  private async permitFor(
    parts: ResponseParts,
    principal: Principal,
    signal: AbortSignal | undefined,
  ): Promise<ResponseReservation> {
    const waiting = new AbortController();
    parts.stopWaiting = () => waiting.abort(clientClosed());
    try {
      return await this.permits.compositions.acquire({
        flow: flowKey(principal),
        signal: AbortSignal.any([waiting.signal, ...(signal ? [signal] : [])]),
      });
    } finally {
      parts.stopWaiting = undefined;
    }
  }

  private load<D extends ReadDescription>({
    read,
    description,
    search: { useCache, cacheTTL } = {},
    options: { path, signal },
  }: PartRequest<D>): Promise<Loaded> {
    return this.cache.getOrLoad(read, description, {
      path,
      policy: { noCache: useCache === false, noStore: false },
      ...(typeof cacheTTL === 'number' ? { ttlMs: cacheTTL * 1000 } : {}),
      ...(signal ? { signal } : {}),
    });
  }
}

/** Reserves memory for a part's result. @throws as ResponseReservation.resize. */
function reserveFor<D extends ReadDescription>(
  reservation: ResponseReservation,
  loaded: Loaded,
  { options: { isParsed = false, copies = 1 }, beside }: PartRequest<D>,
): void {
  const { entry } = loaded;
  const { headBytes } = entry;
  const bytes = headBytes * copies + (beside?.(loaded) ?? 0);
  if (bytes <= SMALL_PART_BYTES) return;
  if (!isParsed) return reservation.add(headBytes * COPIES_OF_TEXT);
  const { held } = reservation;
  const texts = bytes * COPIES_OF_VALUES;
  try {
    reservation.add(headBytes * COPIES_OF_VALUES + texts); // refused by its length, it is not estimated
    reservation.resize(held + estimateParsedBytes(entry.sharedBytes) + texts);
  } catch (error) {
    reservation.resize(held);
    throw error;
  }
}

function requireUnsent({ isSent }: ResponseParts): void {
  if (isSent) throw clientClosed();
}

function assertCapacity({ characters }: ResponseParts): void {
  if (characters > MAX_RESPONSE_CHARACTERS) throw responseTooLarge('be larger than 32 MiB');
}

function responseTooLarge(how: string): AppError {
  const detail = `The answer would ${how}: ask for fewer events at once.`;
  return new AppError('REQUEST_TOO_LARGE', detail);
}
