import { Injectable } from '@nestjs/common';
import type { Principal } from '../auth/principal';
import { CacheReport } from '../caching/cache-report';
import type { CachedRead, ReadDescription } from '../caching/cached-read';
import { ResponseCache, type Remembered } from '../caching/response-cache';
import { parseMarkedJson } from '../front/exact-json';
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
}

/** Whether a kept answer was given, and how long such answers are kept. */
export interface CacheInfo {
  cached: boolean;
  /** Null when the answer is not kept. */
  cacheKey: string | null;
  /** Seconds. */
  ttl: number;
  /** Percent over the last minutes; 0 as long as nobody asked. */
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

/**
 * Reads for doors that do not hand on the bytes of an answer: same cache, same turns, same rights as the routes. What
 * it gives is to be written as JSON text through `unmarkJson` (front/exact-json), or its numbers lose their digits.
 */
@Injectable()
export class AuditSearch {
  constructor(
    private readonly cache: ResponseCache,
    private readonly pages: AuditPages,
    private readonly cachedPages: CachedPages,
    private readonly cachedEvents: CachedEvents,
    private readonly report: CacheReport,
  ) {}

  /**
   * A page of the events that the principal may see.
   * @throws AppError VALIDATION_FAILED, INVALID_CURSOR, FORBIDDEN; the signal's reason; what reading throws.
   */
  async findPage(
    principal: Principal,
    search: AuditEventSearchDto,
    options: SearchOptions,
  ): Promise<FoundEvents> {
    const page = this.pages.describe(principal, pageQueryIn(search));
    const description = this.cachedPages.describePage(principal, page, '');
    const remembered = await this.remember(this.cachedPages, description, search, options);
    const { data } = parseMarkedJson(`${remembered.entry.sharedText}}`) as {
      data: AuditEventDto[];
    };
    const { info, edges } = remembered.entry.rest as { info: PageInfo; edges: PageEdges };
    return {
      data,
      pagination: this.pages.pageInfo(info, edges, page.binding),
      cacheInfo: this.cacheInfo(remembered),
      cursorAfter: (event) => this.pages.cursorAfter(event, page.binding),
    };
  }

  /**
   * One event. Its numbers are marked as those of a page.
   * @throws AppError NOT_FOUND also when it is another organization's; VALIDATION_FAILED for what is no UUID.
   */
  async findById(principal: Principal, id: string, options: SearchOptions): Promise<AuditEventDto> {
    const description = this.cachedEvents.describeEvent(principal, id);
    const { entry } = await this.remember(this.cachedEvents, description, {}, options);
    return parseMarkedJson(entry.sharedText) as AuditEventDto;
  }

  private remember<D extends ReadDescription, Answer>(
    read: CachedRead<D, Answer>,
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

  private cacheInfo({ entry, status, key }: Remembered): CacheInfo {
    return {
      cached: status === 'HIT',
      cacheKey: key ?? null,
      ttl: Math.round(entry.ttlMs / 1000),
      hitRatio: this.report.statistics().window.hitRatio ?? 0,
    };
  }
}
