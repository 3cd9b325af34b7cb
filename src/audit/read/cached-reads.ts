import { Injectable } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { tokenRequired } from '../../auth/challenge';
import {
  type AuthenticatedRequest,
  type Principal,
  principalKey,
  resolveOrganizations,
} from '../../auth/principal';
import { queryHash, type Tenants } from '../../caching/cache-key';
import {
  CachedRead,
  exactBuffer,
  type ReadDescription,
  type ReadRequest,
  type Rendering,
  type SharedResponse,
} from '../../caching/cached-read';
import { flowKey } from '../../concurrency/fair-scheduler';
import { ResponsePermits } from '../../concurrency/response-permits';
import type { ResponseReservation } from '../../http/response-memory';
import { linksOf, type PageInfo } from '../../pagination/page';
import { AppError, validationFailed } from '../../platform/errors/app-error';
import { abortable } from '../../platform/runtime/abort';
import { uuid } from '../../validation/constraints';
import { parseQuery } from '../../validation/query-coercion';
import { validQuery } from '../../validation/validation.pipe';
import {
  AuditPages,
  type FoundPage,
  type PageDescription,
  type PageEdges,
  pageFingerprint,
} from './audit-pages';
import { AuditQueries } from './audit.queries';
import { AuditEventQuery, AuditEventsQuery, pageQueryOf } from './dto/audit-events-query.dto';
import { isPosition } from './position';
import { ReadScheduler } from './read-scheduler';
import { TenantVersions } from './tenant-versions';

/** Characters of all texts of parsed requests, for each kind of read. */
const MAX_PARSED_CHARACTERS = 6 * 1024 * 1024;
/** Characters for the objects and fixed texts of a parsed request. */
const PARSED_CHARACTERS = 500;
/** Ratio of memory to text: a two-letter name in a list takes five characters, and 24 bytes with its slot. */
export const NAME_FACTOR = 6;

export interface ParsedRead extends ReadDescription {
  flow: string;
  characters: number;
}

/**
 * Cached reads of events. Only a miss takes a permit. Parsed requests are kept by principal and URL, which determine
 * them: this saves parsing, validation and hashing.
 */
export abstract class CachedEventRead<D extends ParsedRead> extends CachedRead<D> {
  private readonly parsed = new LRUCache<string, D>({
    maxSize: MAX_PARSED_CHARACTERS,
    sizeCalculation: ({ characters }, key) => key.length + characters + PARSED_CHARACTERS,
  });
  private readonly numbers = new WeakMap<Principal, number>();
  private last = 0;

  constructor(
    protected readonly scheduler: ReadScheduler,
    private readonly versions: TenantVersions,
  ) {
    super();
  }

  protected abstract parseUrl(principal: Principal, url: string): D;

  /** An error is not kept. */
  parse({ principal, url = '' }: ReadRequest & AuthenticatedRequest): D {
    if (!principal) throw tokenRequired();
    let number = this.numbers.get(principal);
    if (number === undefined) {
      number = this.last += 1;
      this.numbers.set(principal, number);
    }
    const key = `${number} ${url}`;
    const known = this.parsed.get(key);
    if (known) return known;
    const parsed = this.parseUrl(principal, url);
    this.parsed.set(key, parsed);
    return parsed;
  }

  currentVersion(tenants: Tenants): Promise<string> {
    return this.versions.current(tenants);
  }

  override assertCapacity({ flow }: D): void {
    this.scheduler.assertCapacity(flow);
  }
}

interface ParsedPage extends ParsedRead {
  url: string;
  page: PageDescription;
}

/** Cached pages of events. Cursors are made for each reader. */
@Injectable()
export class CachedPages extends CachedEventRead<ParsedPage> {
  readonly namespace = 'audit_events';

  constructor(
    private readonly pages: AuditPages,
    scheduler: ReadScheduler,
    versions: TenantVersions,
    private readonly permits: ResponsePermits,
  ) {
    super(scheduler, versions);
  }

  protected parseUrl(principal: Principal, url: string): ParsedPage {
    const query = pageQueryOf(validQuery(AuditEventsQuery, queryIn(url)));
    return this.parsePage(principal, this.pages.parse(principal, query), url);
  }

  parsePage(principal: Principal, page: PageDescription, url: string): ParsedPage {
    const reader = principalKey(principal);
    return {
      url,
      page,
      flow: flowKey(principal),
      tenants: page.list.organizations,
      query: queryHash(pageFingerprint(page)),
      variant: `${reader}\n${url}`,
      // The binding spells organizations and filter, which the page holds again, each name as its own string.
      characters: reader.length + url.length + NAME_FACTOR * page.binding.length,
    };
  }

  read(
    { page, flow }: ParsedPage,
    signal?: AbortSignal,
    ready?: Promise<unknown>,
  ): Promise<SharedResponse> {
    // The memory permit precedes the read permit: a large page must not block small ones.
    return this.permits.reads.withReservation({ flow, signal }, (reservation) =>
      this.scheduler.read({ flow, signal }, async (pace) => {
        await waitFor(signal, ready);
        return shared(await this.pages.read(page, signal, { reservation }, pace), reservation);
      }),
    );
  }

  accepts(tailData: unknown): boolean {
    const { info, edges } = (tailData ?? {}) as { info?: Partial<PageInfo>; edges?: PageEdges };
    if (typeof info?.limit !== 'number' || typeof info.hasNext !== 'boolean') return false;
    if (typeof edges !== 'object' || (edges as unknown) === null) return false;
    // Pages cached by an earlier version do not say whether they are the last one.
    if (edges.resume === undefined) return false;
    return [edges.next, edges.previous, edges.resume ?? undefined].every(
      (at) => at === undefined || typeof at === 'string' || isPosition(at),
    );
  }

  render(tailData: unknown, { page, url }: ParsedPage): Rendering {
    const { info, edges } = tailData as { info: PageInfo; edges: PageEdges };
    const pagination = this.pages.pageInfo(info, edges, page.binding);
    return {
      tail: `,"pagination":${JSON.stringify(pagination)}}`,
      headers: { Link: linksOf(url, pagination).join(', ') },
    };
  }
}

/** Waits until what precedes the read is done. */
export async function waitFor(
  signal: AbortSignal | undefined,
  ready?: Promise<unknown>,
): Promise<void> {
  if (ready) await (signal ? abortable(ready, signal) : ready);
}

function shared(
  { events, info, edges, isComplete }: FoundPage,
  reservation: ResponseReservation,
): SharedResponse {
  const head = listOf(events);
  if (reservation.held > 0) reservation.resize(head.length); // the rows are garbage from here on
  return {
    head,
    tailData: { info, edges },
    reservation,
    ...(isComplete ? {} : { isTransient: true }),
  };
}

const [LIST_BEGIN, LIST_END] = ['{"data":[', ']'];

/** Joins events without a second copy of their text: a page may be tens of megabytes. */
function listOf(events: readonly string[]): Buffer {
  let length = LIST_BEGIN.length + LIST_END.length + Math.max(0, events.length - 1);
  for (const event of events) length += Buffer.byteLength(event);
  if (length <= JOINED_BYTES) return exactBuffer(`${LIST_BEGIN}${events.join(',')}${LIST_END}`);
  const bytes = Buffer.allocUnsafeSlow(length);
  let at = bytes.write(LIST_BEGIN);
  events.forEach((event, index) => {
    if (index > 0) at += bytes.write(',', at);
    at += bytes.write(event, at);
  });
  bytes.write(LIST_END, at);
  return bytes;
}

/** Size up to which a joined text is faster. */
const JOINED_BYTES = 256 * 1024;

interface ParsedEvent extends ParsedRead {
  id: string;
}

/** Cached single events. */
@Injectable()
export class CachedEvents extends CachedEventRead<ParsedEvent> {
  readonly namespace = 'audit_events_by_id';

  constructor(
    private readonly queries: AuditQueries,
    scheduler: ReadScheduler,
    versions: TenantVersions,
  ) {
    super(scheduler, versions);
  }

  protected parseUrl(principal: Principal, url: string): ParsedEvent {
    const path = url.split('?', 1)[0] ?? '';
    const { organization_ids: organizationIds } = validQuery(
      AuditEventQuery,
      queryIn(url),
    ) as AuditEventQuery;
    const id = path.slice(path.lastIndexOf('/') + 1);
    const characters = NAME_FACTOR * url.length + charactersOf(principal);
    return this.parseEvent(principal, id, organizationIds, characters);
  }

  /** Parses a request for one event. @throws AppError VALIDATION_FAILED (no UUID), FORBIDDEN. */
  parseEvent(
    principal: Principal,
    asked: string,
    organizationIds?: string[],
    characters = 0,
  ): ParsedEvent {
    if (uuid(asked) !== undefined) {
      throw validationFailed([{ path: 'id', message: 'must be a UUID' }]);
    }
    const id = asked.toLowerCase();
    return {
      flow: flowKey(principal),
      id,
      tenants: resolveOrganizations(principal, organizationIds),
      query: queryHash(id),
      variant: '',
      characters,
    };
  }

  read(
    { flow, id, tenants }: ParsedEvent,
    signal?: AbortSignal,
    ready?: Promise<unknown>,
  ): Promise<SharedResponse> {
    return this.scheduler.read({ flow, signal }, async () => {
      await waitFor(signal, ready);
      const text = await this.queries.findById(tenants, id, signal);
      // The text does not reveal an event of another organization.
      if (text === undefined) throw new AppError('NOT_FOUND', 'There is no event with this id.');
      return { head: exactBuffer(text), tailData: null };
    });
  }

  accepts(tailData: unknown): boolean {
    return tailData === null;
  }

  render(): Rendering {
    return { tail: '', headers: {} };
  }
}

/** A parsed request may keep its principal's organizations alive, also after its token is evicted. */
export function charactersOf({ subject, organizations }: Principal): number {
  const ids = organizations === '*' ? [] : organizations;
  return ids.reduce((sum, { length }) => sum + length + NAME_FACTOR, subject.length);
}

/** The query of a URL. */
export function queryIn(url: string): Record<string, unknown> {
  const mark = url.indexOf('?');
  return mark === -1 ? {} : parseQuery(url.slice(mark + 1));
}
