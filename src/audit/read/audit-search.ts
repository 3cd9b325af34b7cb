import { Injectable } from '@nestjs/common';
import type { Principal } from '../../auth/principal';
import { HitRatios } from '../../caching/hit-ratios';
import type { Loaded } from '../../caching/response-cache';
import { flowKey } from '../../concurrency/flow';
import { JsonText } from '../../platform/runtime/lossless-json';
import type { PageInfo } from '../../pagination/page';
import { ResponseComposition, type SearchOptions } from './response-composition';
import type { PageEdges } from './audit-event-page';
import { AuditPages } from './audit-pages';
import { CachedEvents, CachedPages } from './cached-reads';
import { pageQueryIn, type AuditEventSearchDto } from './dto/audit-event-search.dto';
import type { AuditEventDto } from '../event/dto/responses.dto';

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
 * it gives is to be written as JSON text through `restoreNumbers` (front/exact-json), or its numbers lose their digits.
 */
@Injectable()
export class AuditSearch {
  private readonly ratios = new HitRatios();

  constructor(
    private readonly composition: ResponseComposition,
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
    const { data, ...rest } = await this.readPage(principal, search, {
      ...options,
      isParsed: true,
    });
    return { data: this.composition.parse(data.text, options) as AuditEventDto[], ...rest };
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
    return this.readPage(principal, search, options);
  }

  private async readPage(
    principal: Principal,
    search: AuditEventSearchDto,
    options: SearchOptions & { isParsed?: boolean },
  ): Promise<FoundText> {
    const page = this.pages.parse(principal, pageQueryIn(search));
    const description = this.cachedPages.parsePage(principal, page, '');
    const read = this.cachedPages;
    const remembered = await this.composition.part({
      principal,
      read,
      description,
      search,
      options,
    });
    const { info, edges } = remembered.entry.rest as { info: PageInfo; edges: PageEdges };
    return {
      data: new JsonText(eventsIn(remembered.entry.sharedText)),
      pagination: this.pages.pageInfo(info, edges, page.binding),
      cacheInfo: this.cacheInfo(principal, remembered),
      cursorAfter: (event) => this.pages.cursorAfter(event, page),
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
    const description = this.cachedEvents.parseEvent(principal, id, named);
    const { entry } = await this.composition.part({
      principal,
      read: this.cachedEvents,
      description,
      options: { ...options, isParsed: true },
    });
    return this.composition.parse(entry.sharedText, options) as AuditEventDto;
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

/** The list in what the readers of a page share (`shared` in cached-reads.ts). */
function eventsIn(sharedText: string): string {
  return sharedText.slice(sharedText.indexOf('['));
}
