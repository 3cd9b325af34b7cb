import { Injectable } from '@nestjs/common';
import type { Principal } from '../auth/principal';
import type { CachedRead, ReadDescription } from '../caching/cached-read';
import { HitRatios } from '../caching/hit-ratios';
import { ResponseCache, type Remembered } from '../caching/response-cache';
import { laneOf } from '../concurrency/lane';
import { AppError } from '../errors/app-error';
import {
  JsonText,
  MAX_EXACT_NUMBERS,
  parseMarkedJson,
  UnacceptableJsonError,
} from '../front/exact-json';
import type { PageInfo } from '../pagination/page';
import type { PageEdges } from './audit-event-page';
import { AuditPages } from './audit-pages';
import { CachedEvents, CachedPages } from './cached-reads';
import { pageQueryIn, type AuditEventSearchDto } from './dto/audit-event-search.dto';
import type { AuditEventDto } from './dto/answers.dto';

/** How a door wants a read answered. */
export interface SearchOptions {
  /** What the settings of the cache call this door: the path that was asked. */
  path: string;
  /** Makes the signal that aborts when nobody waits for the answer any more. */
  patience?: () => AbortSignal;
  /** Stands for the answer that what is read becomes part of: it is read one after the other, and bounded together. */
  answer?: object;
  /** How often the answer will hold what is read; once, unless told otherwise. */
  copies?: number;
}

/** Characters that all that is read for one answer may have together: it is put together in memory, several times over. */
const MAX_ANSWER_CHARACTERS = 32 * 1024 * 1024;

const TOO_MANY_NUMBERS = `hold more than ${MAX_EXACT_NUMBERS} numbers that a double cannot`;

/** What has been read for one answer so far. */
interface AnswerParts {
  characters: number;
  /** Numbers that `parseMarkedJson` would have to mark. */
  numbersLeft: number;
  /** Settles when the last part that was asked for has been read. */
  last: Promise<unknown>;
}

/** Whether a kept answer was given, and how long such answers are kept. */
export interface CacheInfo {
  cached: boolean;
  /** Null when the answer is not kept. */
  cacheKey: string | null;
  /** Seconds. */
  ttl: number;
  /** Percent of the latest pages of this organization, or of a principal of several, in GraphQL and tRPC. */
  hitRatio: number;
}

/** A page as other doors than REST hand it on. Numbers in `metadata` that a double would change are marked. */
export interface FoundEvents {
  data: AuditEventDto[];
  pagination: PageInfo;
  cacheInfo: CacheInfo;
  /** The cursor from which a list goes on behind this event of the page. */
  cursorAfter: (event: AuditEventDto) => string;
}

/** The same, its events as the JSON text of their list. */
export type FoundText = Omit<FoundEvents, 'data'> & { data: JsonText };

/**
 * Reads for doors that do not hand on the bytes of an answer: same cache, same turns, same rights as the routes. What
 * it gives is to be written as JSON text through `unmarkJson` (front/exact-json), or its numbers lose their digits.
 */
@Injectable()
export class AuditSearch {
  private readonly answers = new WeakMap<object, AnswerParts>();
  private readonly ratios = new HitRatios();

  constructor(
    private readonly cache: ResponseCache,
    private readonly pages: AuditPages,
    private readonly cachedPages: CachedPages,
    private readonly cachedEvents: CachedEvents,
  ) {}

  /**
   * A page of the events that the principal may see.
   * @throws AppError VALIDATION_FAILED, INVALID_CURSOR, FORBIDDEN; REQUEST_TOO_LARGE when the answer would be; the
   * signal's reason; what reading throws.
   */
  async findPage(
    principal: Principal,
    search: AuditEventSearchDto,
    options: SearchOptions,
  ): Promise<FoundEvents> {
    const { data, ...rest } = await this.findPageText(principal, search, options);
    return { data: this.parse(data.text, options) as AuditEventDto[], ...rest };
  }

  /**
   * A page for doors that need no look at its events.
   * @throws AppError as findPage.
   */
  async findPageText(
    principal: Principal,
    search: AuditEventSearchDto,
    options: SearchOptions,
  ): Promise<FoundText> {
    const page = this.pages.describe(principal, pageQueryIn(search));
    const description = this.cachedPages.describePage(principal, page, '');
    const read = () => this.remember(this.cachedPages, description, search, options);
    const remembered = await this.inAnswer(options, read);
    const { info, edges } = remembered.entry.rest as { info: PageInfo; edges: PageEdges };
    return {
      data: new JsonText(eventsIn(remembered.entry.sharedText)),
      pagination: this.pages.pageInfo(info, edges, page.binding),
      cacheInfo: this.cacheInfo(principal, remembered),
      cursorAfter: (event) => this.pages.cursorAfter(event, page.binding),
    };
  }

  /**
   * One event. Its numbers are marked as those of a page.
   * @throws AppError NOT_FOUND also when it is another organization's; VALIDATION_FAILED for what is no UUID; FORBIDDEN;
   * CONFLICT when several organizations have an event with this id; REQUEST_TOO_LARGE when the answer would be.
   */
  async findById(
    principal: Principal,
    { id, organizationId }: { id: string; organizationId?: string | undefined },
    options: SearchOptions,
  ): Promise<AuditEventDto> {
    const named = organizationId === undefined ? undefined : [organizationId];
    const description = this.cachedEvents.describeEvent(principal, id, named);
    const read = () => this.remember(this.cachedEvents, description, {}, options);
    const { entry } = await this.inAnswer(options, read);
    return this.parse(entry.sharedText, options) as AuditEventDto;
  }

  /** Reads a part of an answer once those before it are read, unless they leave no room for it. */
  private inAnswer(
    { answer, copies = 1 }: SearchOptions,
    read: () => Promise<Remembered>,
  ): Promise<Remembered> {
    if (!answer) return read();
    const parts = this.answers.get(answer) ?? {
      characters: 0,
      numbersLeft: MAX_EXACT_NUMBERS,
      last: Promise.resolve(),
    };
    this.answers.set(answer, parts);
    const reading = parts.last.then(async () => {
      requireRoom(parts);
      const remembered = await read();
      parts.characters += remembered.entry.sharedText.length * copies;
      requireRoom(parts);
      return remembered;
    });
    parts.last = reading.catch(() => undefined);
    return reading;
  }

  /** What has been read, as a value; its numbers are counted as often as the answer will hold them. */
  private parse(text: string, { answer, copies = 1 }: SearchOptions): unknown {
    const parts = answer && this.answers.get(answer);
    const budget = { left: (parts?.numbersLeft ?? MAX_EXACT_NUMBERS) / copies };
    try {
      return parseMarkedJson(text, budget);
    } catch (error) {
      if (error instanceof UnacceptableJsonError) throw answerTooLarge(TOO_MANY_NUMBERS);
      throw error;
    } finally {
      if (parts) parts.numbersLeft = budget.left * copies;
    }
  }

  private remember<D extends ReadDescription>(
    read: CachedRead<D>,
    description: D,
    { useCache, cacheTTL }: Pick<AuditEventSearchDto, 'useCache' | 'cacheTTL'>,
    { path, patience }: SearchOptions,
  ): Promise<Remembered> {
    return this.cache.remember(read, description, {
      path,
      policy: { noCache: useCache === false, noStore: false },
      ...(typeof cacheTTL === 'number' ? { ttlMs: cacheTTL * 1000 } : {}),
      ...(patience ? { patience } : {}),
    });
  }

  private cacheInfo(principal: Principal, { entry, status, key }: Remembered): CacheInfo {
    return {
      cached: status === 'HIT',
      cacheKey: key ?? null,
      ttl: Math.round(entry.ttlMs / 1000),
      hitRatio: this.ratios.count(laneOf(principal), status === 'HIT'),
    };
  }
}

/** The list in what the readers of a page share (`shared` in cached-reads.ts). */
function eventsIn(sharedText: string): string {
  return sharedText.slice(sharedText.indexOf('['));
}

function requireRoom({ characters }: AnswerParts): void {
  if (characters > MAX_ANSWER_CHARACTERS) throw answerTooLarge('be larger than 32 MiB');
}

function answerTooLarge(how: string): AppError {
  const detail = `The answer would ${how}: ask for fewer events at once.`;
  return new AppError('REQUEST_TOO_LARGE', detail);
}
