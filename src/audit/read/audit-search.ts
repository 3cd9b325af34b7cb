import { Injectable } from '@nestjs/common';
import type { Principal } from '../../auth/principal';
import { HitRatios } from '../../caching/cache-statistics';
import type { Loaded } from '../../caching/response-cache';
import { flowKey } from '../../concurrency/fair-scheduler';
import type { PageInfo } from '../../pagination/page';
import { JsonText } from '../../platform/runtime/lossless-json';
import type { AuditEventDto } from '../event/dto/responses.dto';
import {
  AuditPages,
  type PageDescription,
  type PageEdges,
  positionCharacters,
} from './audit-pages';
import { CachedCounts } from './cached-counts';
import { CachedEvents, CachedPages } from './cached-reads';
import {
  type AuditEventCountsDto,
  type AuditEventCountsSearchDto,
  countQueryIn,
} from './dto/audit-event-counts.dto';
import { type AuditEventSearchDto, pageQueryIn } from './dto/audit-event-search.dto';
import type { CountPaths } from './event-counts';
import type { Position } from './position';
import { type PartOptions, ResponseComposition, type SearchOptions } from './response-composition';

export interface CacheInfo {
  cached: boolean;
  cacheKey: string | null;
  /** Seconds. */
  ttl: number;
  /** Percent of the latest pages of this organization, or of a principal of several, in GraphQL and tRPC. */
  hitRatio: number;
}

/** A page of parsed events, with placeholders for numbers in `metadata` that a double would change. */
export interface FoundEvents {
  data: AuditEventDto[];
  pagination: PageInfo;
  cacheInfo: CacheInfo;
  /** The cursor after the event at an index of `data`. */
  cursorAfter: (index: number) => string;
}

const COUNT_PATHS: CountPaths = { startDate: 'filter.dateRange.startDate', timeZone: 'timeZone' };

/** Less than the JSON text of any event has. */
const MIN_EVENT_BYTES = 300;

export type FoundText = Omit<FoundEvents, 'data' | 'cursorAfter'> & { data: JsonText };

/** Reads for GraphQL and tRPC as in REST. `restoreNumbers` (lossless-json) must replace placeholders in results. */
@Injectable()
export class AuditSearch {
  private readonly ratios = new HitRatios();

  constructor(
    private readonly composition: ResponseComposition,
    private readonly pages: AuditPages,
    private readonly cachedPages: CachedPages,
    private readonly cachedEvents: CachedEvents,
    private readonly cachedCounts: CachedCounts,
  ) {}

  /**
   * Finds a page of the principal's events.
   * @throws AppError VALIDATION_FAILED, INVALID_CURSOR, FORBIDDEN; REQUEST_TOO_LARGE for the response; the signal's
   * reason; what reading throws.
   */
  async findPage(
    principal: Principal,
    search: AuditEventSearchDto,
    options: SearchOptions,
  ): Promise<FoundEvents> {
    const asked = { ...options, isParsed: true };
    const { page, edges, found } = await this.read(principal, search, asked);
    const data = this.composition.parse(found.data.text, options) as AuditEventDto[];
    const cursorAfter = this.pages.cursorsIn(page, edges, (index) => eventAt(data, index));
    return { ...found, data, cursorAfter };
  }

  /** Finds a page as JSON text. @throws AppError as findPage. */
  async findPageText(
    principal: Principal,
    search: AuditEventSearchDto,
    options: PartOptions,
  ): Promise<FoundText> {
    return (await this.read(principal, search, options)).found;
  }

  private async read(
    principal: Principal,
    search: AuditEventSearchDto,
    options: PartOptions,
  ): Promise<{ page: PageDescription; edges: PageEdges; found: FoundText }> {
    const page = this.pages.parse(principal, pageQueryIn(search));
    const description = this.cachedPages.parsePage(principal, page, '');
    const read = this.cachedPages;
    const beside = ({ entry }: Loaded): number => cursorsBeside(entry, page, options);
    const loaded = await this.composition.part({
      principal,
      read,
      description,
      search,
      options,
      beside,
    });
    const { info, edges } = loaded.entry.tailData as { info: PageInfo; edges: PageEdges };
    const found = {
      data: new JsonText(eventsIn(loaded.entry.sharedText)),
      pagination: this.pages.pageInfo(info, edges, page.binding),
      cacheInfo: this.cacheInfo(principal, loaded),
    };
    return { page, edges, found };
  }

  /**
   * Finds one event.
   * @throws AppError NOT_FOUND, also for another organization's; VALIDATION_FAILED (no UUID); FORBIDDEN; CONFLICT when
   * several organizations have an event with this id; REQUEST_TOO_LARGE for the response.
   */
  async findById(
    principal: Principal,
    { id, organizationId }: { id: string; organizationId?: string | undefined },
    options: SearchOptions,
  ): Promise<AuditEventDto> {
    const named = organizationId === undefined ? undefined : [organizationId];
    const description = this.cachedEvents.parseEvent(principal, id, named);
    const { entry } = await this.composition.part({
      principal,
      read: this.cachedEvents,
      description,
      options: { ...options, isParsed: true },
    });
    return this.composition.parse(entry.sharedText, options) as AuditEventDto;
  }

  /**
   * Counts events by value or by time.
   * @throws AppError VALIDATION_FAILED, FORBIDDEN; REQUEST_TOO_LARGE for the response; the signal's reason; what reading throws.
   */
  async findCounts(
    principal: Principal,
    search: AuditEventCountsSearchDto,
    options: SearchOptions,
  ): Promise<AuditEventCountsDto> {
    const read = this.cachedCounts;
    const description = read.parseCounts(principal, countQueryIn(search), COUNT_PATHS);
    const { entry } = await this.composition.part({
      principal,
      read,
      description,
      search,
      options: { ...options, isParsed: true },
    });
    return this.composition.parse(entry.sharedText, options) as AuditEventCountsDto;
  }

  private cacheInfo(principal: Principal, { entry, status, key }: Loaded): CacheInfo {
    return {
      cached: status === 'HIT',
      cacheKey: key ?? null,
      ttl: Math.round(entry.ttlMs / 1000),
      hitRatio: this.ratios.count(flowKey(principal), status === 'HIT'),
    };
  }
}

/** Characters of the selected cursors of single events, at most: of events, only the bytes are known. */
function cursorsBeside(
  { tailData, headBytes }: Loaded['entry'],
  { limit }: PageDescription,
  { cursors = 0 }: SearchOptions,
): number {
  const { edges } = tailData as { edges: PageEdges };
  const events = Math.min(limit, headBytes / MIN_EVENT_BYTES);
  return Math.ceil(cursors * events * positionCharacters(edges));
}

function eventAt(events: readonly AuditEventDto[], index: number): Position {
  const event = events[index];
  if (!event) throw new RangeError(`There is no event ${index} in this page.`);
  return event;
}

function eventsIn(sharedText: string): string {
  return sharedText.slice(sharedText.indexOf('['));
}
