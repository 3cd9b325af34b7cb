import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { type Principal, principalKey } from '../../auth/principal';
import { TokenLife } from '../../auth/token-life';
import { flowKey } from '../../concurrency/fair-scheduler';
import { requestTimeout } from '../../http/request-context';
import { paginationConfig, serverConfig, streamingConfig } from '../../platform/config/settings';
import { AppError, validationFailed } from '../../platform/errors/app-error';
import { abortReason, withDeadline } from '../../platform/runtime/abort';
import { StreamLimiter } from '../../streaming/stream-limiter';
import { AuditPages, type FoundPage, type PageDescription } from '../read/audit-pages';
import { HELD_PAGE_BYTES, isTooLarge, TOO_LARGE_DIVISOR } from '../read/audit.queries';
import { pageQueryIn } from '../read/dto/audit-event-search.dto';
import { positionOf } from '../read/position';
import { ReadScheduler } from '../read/read-scheduler';
import type { AuditEventStreamDto } from './feed.dto';

export interface StreamedEvent {
  /** JSON text as in pages. */
  text: string;
  readonly cursor: string;
}

/**
 * Streams all events of a list. A page is read, with a permit, when the subscriber has taken the previous one: a
 * subscriber that pauses costs nothing. Events that are recorded meanwhile are included when they come later in the list.
 */
@Injectable()
export class AuditEventStream {
  private readonly limiter: StreamLimiter;

  constructor(
    private readonly pages: AuditPages,
    private readonly scheduler: ReadScheduler,
    private readonly tokens: TokenLife,
    @Inject(streamingConfig.KEY) private readonly config: ConfigType<typeof streamingConfig>,
    @Inject(paginationConfig.KEY) private readonly paging: ConfigType<typeof paginationConfig>,
    @Inject(serverConfig.KEY) private readonly server: ConfigType<typeof serverConfig>,
  ) {
    this.limiter = new StreamLimiter(config.maxConcurrent, 'event streams');
  }

  /**
   * Streams the principal's events; the signal ends the reading.
   * @throws AppError NOT_FOUND (switched off), VALIDATION_FAILED, INVALID_CURSOR, FORBIDDEN; from the iteration
   * UNAUTHENTICATED (token expired), TOO_MANY_REQUESTS (STREAMING_MAX_CONCURRENT run), TIMELINE_CHANGED,
   * REQUEST_TIMEOUT (of a page) and what reading throws.
   */
  open(
    principal: Principal,
    search: AuditEventStreamDto,
    signal: AbortSignal,
  ): AsyncGenerator<StreamedEvent> {
    if (!this.config.enabled) {
      throw new AppError('NOT_FOUND', 'Streams are switched off (STREAMING_ENABLED).');
    }
    const cursor = search.lastEventId ?? search.pagination?.cursor ?? undefined;
    const query = pageQueryIn({ ...search, pagination: { ...search.pagination, cursor } });
    const chunkSize = search.streaming?.chunkSize ?? undefined;
    const limit =
      chunkSize === undefined && query.limit !== undefined
        ? query.limit
        : Math.min(chunkSize ?? this.config.chunkSize, this.paging.maxLimit);
    const offset = cursor === undefined ? query.offset : undefined;
    const first = this.pages.parse(principal, { ...query, offset, limit, includeTotal: false });
    if (first.from?.backward) {
      throw validationFailed([
        { path: 'pagination.cursor', message: 'must be a nextCursor or resumeCursor' },
      ]);
    }
    return this.read(principal, first, signal);
  }

  private async *read(
    principal: Principal,
    first: PageDescription,
    signal: AbortSignal,
  ): AsyncGenerator<StreamedEvent> {
    const release = this.limiter.acquire(principalKey(principal));
    const token = this.tokens.signalOf(principal);
    const either = AbortSignal.any([signal, token.signal]);
    const most = first.limit;
    try {
      for (let page: PageDescription | undefined = first; page;) {
        const { events, edges } = await this.readPage(principal, page, either);
        const characters = events.reduce((sum, { length }) => sum + length, 0);
        if (4 * characters <= HELD_PAGE_BYTES) page.limit = Math.min(most, 2 * page.limit);
        const cursorAfter = this.pages.cursorsIn(page, edges, (index) =>
          positionOf(events[index] ?? ''),
        );
        for (const [index, text] of events.entries()) {
          if (token.signal.aborted) throw abortReason(token.signal);
          yield {
            text,
            get cursor() {
              return cursorAfter(index);
            },
          };
        }
        const { next, skip = 0 } = edges;
        page =
          next === undefined
            ? undefined
            : { ...page, offset: skip, from: { backward: false, edge: next } };
      }
    } finally {
      token.release();
      release();
    }
  }

  /** Reads a page with a permit. When a page is too large, this and later pages have fewer events. */
  private async readPage(
    principal: Principal,
    page: PageDescription,
    signal: AbortSignal,
  ): Promise<FoundPage> {
    const deadline = { timeoutMs: this.server.requestTimeoutMs, late: requestTimeout, signal };
    for (;;) {
      try {
        return await withDeadline(deadline, (either) =>
          this.scheduler.read({ flow: flowKey(principal), signal: either }, (pace) =>
            this.pages.read(page, either, { maxBytes: HELD_PAGE_BYTES }, pace),
          ),
        );
      } catch (error) {
        if (!isTooLarge(error) || page.limit === 1) throw error;
        page.limit = Math.ceil(page.limit / TOO_LARGE_DIVISOR);
      }
    }
  }
}
