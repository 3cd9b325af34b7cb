import { Injectable } from '@nestjs/common';
import type { Principal } from '../../auth/principal';
import type { CachedRead, ReadDescription } from '../../caching/cached-read';
import { ResponseCache, type Loaded } from '../../caching/response-cache';
import { ResponsePermits } from '../../concurrency/response-permits';
import { flowKey } from '../../concurrency/flow';
import { AppError } from '../../platform/errors/app-error';
import {
  ResponseMemory,
  type ResponseReservation,
  OutOfResponseMemory,
} from '../../http/response-memory';
import { estimateParsedBytes } from '../../http/body-memory-limiter';
import {
  MAX_EXACT_NUMBERS,
  parseJsonWithPlaceholders,
  UnacceptableJsonError,
} from '../../platform/runtime/lossless-json';
import { clientClosed } from '../../http/request-signal';
import type { AuditEventSearchDto } from './dto/audit-event-search.dto';

/** How a door wants a read answered. */
export interface SearchOptions {
  /** What the settings of the cache call this door: the path that was asked. */
  path: string;
  /** Makes the signal that aborts when nobody waits for the answer any more. */
  signal?: () => AbortSignal;
  /** Stands for the answer that what is read becomes part of: it is read one after the other, and bounded together. */
  answer?: ComposedResponse;
  /** How often the answer will hold what is read; once, unless told otherwise. */
  copies?: number;
}

/** One answer, whose parts may be read by several calls. Its maker ends it on every way out. */
export class ComposedResponse {
  private readonly work: (() => void)[] = [];
  private isOver = false;

  /** Whether something is held until its end. */
  get isHeld(): boolean {
    return this.work.length > 0;
  }

  /** Has `release` called once the whole answer has been handed to its connection, or never will be; at once after that. */
  whenSent(release: () => void): void {
    if (this.isOver) release();
    else this.work.push(release);
  }

  /** Tells that nothing more is made of what was read. */
  end(): void {
    this.isOver = true;
    for (const release of this.work.splice(0)) release();
  }
}

/** Characters that all that is read for one answer may have together: it is put together in memory, several times over. */
const MAX_RESPONSE_CHARACTERS = 32 * 1024 * 1024;

const TOO_MANY_NUMBERS = `hold more than ${MAX_EXACT_NUMBERS} numbers that a double cannot`;

/** What has been read for one answer so far. */
interface ResponseParts {
  characters: number;
  /** Numbers that `parseJsonWithPlaceholders` would have to mark. */
  numbersLeft: number;
  /** The memory for what is made of the parts. */
  reservation: ResponseReservation;
  /** Settles when the last part that was asked for has been read. */
  last: Promise<unknown>;
  /** Whether the answer is over, with or without all of its parts: GraphQL answers at the first failure of a field. */
  isSent: boolean;
  /** Ends the wait of a part for a permit. */
  stopWaiting?: (() => void) | undefined;
}

/** Which part of an answer is read, and for whom. */
export interface PartRequest<D extends ReadDescription> {
  principal: Principal;
  read: CachedRead<D>;
  description: D;
  search?: Pick<AuditEventSearchDto, 'useCache' | 'cacheTTL'>;
  options: PartOptions;
}

/** How a part is read; `isParsed` when the door needs its values. */
type PartOptions = SearchOptions & { isParsed?: boolean };

/**
 * Bytes of memory for a byte of a part that is handed on as text: the string of it, that of the answer, both with two
 * bytes a character at worst, and the bytes of the answer. Of a part that is parsed, beside its values: for each copy.
 */
const COPIES_OF_TEXT = 5;
const COPIES_OF_VALUES = 3;
/** A smaller part is not counted. */
const SMALL_PART_BYTES = 64 * 1024;

/**
 * Answers that are made of several reads: these are made one after the other, bounded together, and counted in the memory
 * for answers with what is made of them.
 */
@Injectable()
export class ResponseComposition {
  private readonly answers = new WeakMap<object, ResponseParts>();

  constructor(
    private readonly cache: ResponseCache,
    private readonly memory: ResponseMemory,
    private readonly permits: ResponsePermits,
  ) {}

  /**
   * Reads a part of an answer once those before it are read, unless they leave no room for it.
   * @throws AppError REQUEST_TOO_LARGE; CLIENT_CLOSED when the answer is over; TOO_MANY_REQUESTS, QUEUE_TIMEOUT; the signal's reason; what reading throws.
   */
  part<D extends ReadDescription>(request: PartRequest<D>): Promise<Loaded> {
    const { options, principal } = request;
    const { answer, copies = 1 } = options;
    const read = (): Promise<Loaded> => this.remember(request);
    if (!answer) return read();
    const parts = this.partsOf(answer);
    const reading = parts.last.then(async () => {
      requireUnsent(parts);
      assertCapacity(parts);
      const remembered =
        (await this.readWithin(parts, options, read)) ??
        (await this.readWithPermit(parts, principal, options, read));
      requireUnsent(parts); // its reservation counts nothing any more
      parts.characters += remembered.entry.headBytes * copies;
      assertCapacity(parts);
      return remembered;
    });
    parts.last = reading.catch(() => undefined);
    return reading;
  }

  /** What has been read, as a value; its numbers are counted as often as the answer will hold them. @throws AppError REQUEST_TOO_LARGE. */
  parse(text: string, { answer, copies = 1 }: SearchOptions): unknown {
    const parts = answer && this.answers.get(answer);
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

  private partsOf(answer: ComposedResponse): ResponseParts {
    const known = this.answers.get(answer);
    if (known) return known;
    const parts: ResponseParts = {
      characters: 0,
      numbersLeft: MAX_EXACT_NUMBERS,
      reservation: this.memory.reserve(),
      last: Promise.resolve(),
      isSent: false,
    };
    answer.whenSent(() => {
      parts.isSent = true;
      parts.reservation.release();
      parts.stopWaiting?.();
    });
    this.answers.set(answer, parts);
    return parts;
  }

  /** Reads a part and reserves what will be made of it; undefined when others hold too much of the memory. */
  private async readWithin(
    { reservation }: ResponseParts,
    options: PartOptions,
    read: () => Promise<Loaded>,
  ): Promise<Loaded | undefined> {
    const remembered = await read();
    try {
      reserveFor(reservation, remembered, options);
      return remembered;
    } catch (error) {
      if (error instanceof OutOfResponseMemory) return undefined;
      throw error;
    }
  }

  /** The same with a permit, which the answer keeps. What was read before is let go of while it is waited for. */
  private async readWithPermit(
    parts: ResponseParts,
    principal: Principal,
    options: PartOptions,
    read: () => Promise<Loaded>,
  ): Promise<Loaded> {
    requireUnsent(parts);
    const before = parts.reservation;
    const reservation = await this.permitFor(parts, principal, options.signal?.());
    if (parts.isSent) {
      reservation.release(); // the end of the answer has released the one before it
      throw clientClosed();
    }
    parts.reservation = reservation;
    try {
      reservation.resize(before.held);
    } finally {
      before.release();
    }
    const remembered = await read();
    reserveFor(reservation, remembered, options);
    return remembered;
  }

  /** Waits for a permit, no longer than for the answer. */
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

  private remember<D extends ReadDescription>({
    read,
    description,
    search: { useCache, cacheTTL } = {},
    options: { path, signal: patience },
  }: PartRequest<D>): Promise<Loaded> {
    return this.cache.getOrLoad(read, description, {
      path,
      policy: { noCache: useCache === false, noStore: false },
      ...(typeof cacheTTL === 'number' ? { ttlMs: cacheTTL * 1000 } : {}),
      ...(patience ? { signal: patience } : {}),
    });
  }
}

/** Reserves memory for what is made of a part. @throws as ResponseReservation.resize. */
function reserveFor(
  reservation: ResponseReservation,
  { entry }: Loaded,
  { isParsed = false, copies = 1 }: PartOptions,
): void {
  const { headBytes } = entry;
  if (headBytes * copies <= SMALL_PART_BYTES) return;
  if (!isParsed) return reservation.add(headBytes * COPIES_OF_TEXT);
  const { held } = reservation;
  const texts = headBytes * COPIES_OF_VALUES * copies;
  try {
    reservation.add(headBytes * COPIES_OF_VALUES + texts); // what is too much by its length is not looked at
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
