import { Injectable } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import {
  type AuthenticatedRequest,
  type Principal,
  resolveOrganizations,
} from '../../auth/principal';
import { tokenRequired } from '../../auth/challenge';
import { AppError, validationFailed } from '../../platform/errors/app-error';
import { queryHash, type Tenants } from '../../caching/cache-key';
import {
  CachedRead,
  type ReadDescription,
  type ReadRequest,
  type Rendering,
  type SharedResponse,
  exactBuffer,
} from '../../caching/cached-read';
import { ReadScheduler } from './read-scheduler';
import { ResponsePermits } from '../../concurrency/response-permits';
import { flowKey } from '../../concurrency/fair-scheduler';
import type { ResponseReservation } from '../../http/response-memory';
import { parseQuery } from '../../validation/query-coercion';
import { uuid } from '../../validation/constraints';
import { validQuery } from '../../validation/validation.pipe';
import { abortable } from '../../platform/runtime/abort';
import { linksOf, type PageInfo } from '../../pagination/page';
import { isPosition } from './position';
import { type FoundPage, type PageEdges } from './audit-pages';
import { AuditPages, pageFingerprint, type PageDescription } from './audit-pages';
import { AuditQueries } from './audit.queries';
import { AuditEventQuery, AuditEventsQuery, pageQueryOf } from './dto/audit-events-query.dto';
import { TenantVersions } from './tenant-versions';

/** Characters of all texts in a ParsedRequestCache. */
const MAX_CACHED_CHARACTERS = 6 * 1024 * 1024;

/** Caches parsed requests by principal and URL, which determine them: saves parsing, validation and hashing. */
class ParsedRequestCache<D extends { characters: number }> {
  private readonly known = new LRUCache<string, D>({
    maxSize: MAX_CACHED_CHARACTERS,
    sizeCalculation: ({ characters }, key) => key.length + characters + PARSED_CHARACTERS,
  });
  private readonly numbers = new WeakMap<Principal, number>();
  private last = 0;

  /** Parses the request of a principal and URL once; an error of `parse` is not cached. */
  getOrParse(
    { principal, url = '' }: ReadRequest & AuthenticatedRequest,
    parse: (principal: Principal, url: string) => D,
  ): D {
    if (!principal) throw tokenRequired();
    let number = this.numbers.get(principal);
    if (number === undefined) {
      number = this.last += 1;
      this.numbers.set(principal, number);
    }
    const key = `${number} ${url}`;
    const known = this.known.get(key);
    if (known) return known;
    const parsed = parse(principal, url);
    this.known.set(key, parsed);
    return parsed;
  }
}

/** Characters for the objects and fixed texts of a parsed request. */
const PARSED_CHARACTERS = 500;
/** Ratio of memory to text: a two-letter name in a list takes five characters, and 24 bytes with its slot. */
const NAME_FACTOR = 6;

/** A parsed request keeps its principal alive, also after its token is evicted. */
function charactersOf({ subject, organizations }: Principal): number {
  const ids = organizations === '*' ? [] : organizations;
  return ids.reduce((sum, { length }) => sum + length + NAME_FACTOR, subject.length);
}

interface ParsedPage extends ReadDescription {
  url: string;
  characters: number;
  page: PageDescription;
  flow: string;
}

/** Cached pages of events. Only a miss takes a permit. Cursors are made for each reader. */
@Injectable()
export class CachedPages extends CachedRead<ParsedPage> {
  readonly namespace = 'audit_events';
  private readonly requests = new ParsedRequestCache<ParsedPage>();

  constructor(
    private readonly pages: AuditPages,
    private readonly scheduler: ReadScheduler,
    private readonly versions: TenantVersions,
    private readonly permits: ResponsePermits,
  ) {
    super();
  }

  parse(request: ReadRequest & AuthenticatedRequest): ParsedPage {
    return this.requests.getOrParse(request, (principal, url) => {
      const query = pageQueryOf(validQuery(AuditEventsQuery, queryIn(url)));
      return this.parsePage(principal, this.pages.parse(principal, query), url);
    });
  }

  parsePage(principal: Principal, page: PageDescription, url: string): ParsedPage {
    return {
      url,
      page,
      flow: flowKey(principal),
      tenants: page.list.organizations,
      query: queryHash(pageFingerprint(page)),
      variant: `${principal.subject}\n${url}`,
      // The binding spells organizations and filter, which the page holds again, each name as its own string.
      characters: principal.subject.length + url.length + NAME_FACTOR * page.binding.length,
    };
  }

  currentEpoch(tenants: Tenants): Promise<string> {
    return this.versions.current(tenants);
  }

  override assertCapacity({ flow }: ParsedPage): void {
    this.scheduler.assertCapacity(flow);
  }

  read(
    { page, flow }: ParsedPage,
    signal?: AbortSignal,
    ready?: Promise<unknown>,
  ): Promise<SharedResponse> {
    // The memory permit precedes the read permit: a large page must not block small ones.
    return this.permits.reads.withReservation({ flow, signal }, (reservation) =>
      this.scheduler.read({ flow, signal }, async () => {
        await waitFor(signal, ready);
        return shared(await this.pages.read(page, signal, { reservation }), reservation);
      }),
    );
  }

  accepts(rest: unknown): boolean {
    const { info, edges } = (rest ?? {}) as { info?: Partial<PageInfo>; edges?: PageEdges };
    if (typeof info?.limit !== 'number' || typeof info.hasNext !== 'boolean') return false;
    if (typeof edges !== 'object' || (edges as unknown) === null) return false;
    return [edges.next, edges.previous].every((at) => at === undefined || isPosition(at));
  }

  render(rest: unknown, { page, url }: ParsedPage): Rendering {
    const { info, edges } = rest as { info: PageInfo; edges: PageEdges };
    const pagination = this.pages.pageInfo(info, edges, page.binding);
    return {
      tail: `,"pagination":${JSON.stringify(pagination)}}`,
      headers: { Link: linksOf(url, pagination).join(', ') },
    };
  }
}

async function waitFor(signal: AbortSignal | undefined, ready?: Promise<unknown>): Promise<void> {
  if (ready) await (signal ? abortable(ready, signal) : ready);
}

function shared(
  { events, info, edges }: FoundPage,
  reservation: ResponseReservation,
): SharedResponse {
  const head = listOf(events);
  if (reservation.held > 0) reservation.resize(head.length); // the rows are garbage from here on
  return { head, rest: { info, edges }, reservation };
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

interface ParsedEvent extends ReadDescription {
  characters: number;
  principal: Principal;
  id: string;
}

@Injectable()
export class CachedEvents extends CachedRead<ParsedEvent> {
  readonly namespace = 'audit_events_by_id';
  private readonly requests = new ParsedRequestCache<ParsedEvent>();

  constructor(
    private readonly queries: AuditQueries,
    private readonly scheduler: ReadScheduler,
    private readonly versions: TenantVersions,
  ) {
    super();
  }

  parse(request: ReadRequest & AuthenticatedRequest): ParsedEvent {
    return this.requests.getOrParse(request, (principal, url) => {
      const path = url.split('?', 1)[0] ?? '';
      const { organization_ids: organizationIds } = validQuery(
        AuditEventQuery,
        queryIn(url),
      ) as AuditEventQuery;
      return this.parseEvent(
        principal,
        path.slice(path.lastIndexOf('/') + 1),
        organizationIds,
        NAME_FACTOR * url.length + charactersOf(principal),
      );
    });
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
      principal,
      id,
      tenants: resolveOrganizations(principal, organizationIds),
      query: queryHash(id),
      variant: '',
      characters,
    };
  }

  currentEpoch(tenants: Tenants): Promise<string> {
    return this.versions.current(tenants);
  }

  override assertCapacity({ principal }: ParsedEvent): void {
    this.scheduler.assertCapacity(flowKey(principal));
  }

  read(
    { principal, id, tenants }: ParsedEvent,
    signal?: AbortSignal,
    ready?: Promise<unknown>,
  ): Promise<SharedResponse> {
    return this.scheduler.read({ flow: flowKey(principal), signal }, async () => {
      await waitFor(signal, ready);
      const text = await this.queries.findById(tenants, id, signal);
      // The text does not reveal an event of another organization.
      if (text === undefined) throw new AppError('NOT_FOUND', 'There is no event with this id.');
      return { head: exactBuffer(text), rest: null };
    });
  }

  accepts(rest: unknown): boolean {
    return rest === null;
  }

  render(): Rendering {
    return { tail: '', headers: {} };
  }
}

function queryIn(url: string): Record<string, unknown> {
  const mark = url.indexOf('?');
  return mark === -1 ? {} : parseQuery(url.slice(mark + 1));
}
