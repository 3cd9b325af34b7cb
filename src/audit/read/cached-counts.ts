import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { Principal } from '../../auth/principal';
import { queryHash } from '../../caching/cache-key';
import { exactBuffer, type Rendering, type SharedResponse } from '../../caching/cached-read';
import { flowKey } from '../../concurrency/fair-scheduler';
import { PermitPool } from '../../concurrency/permit-pool';
import { concurrencyConfig, databaseConfig } from '../../platform/config/settings';
import { formatInstant } from '../../platform/runtime/instant';
import { validQuery } from '../../validation/validation.pipe';
import { filterFingerprint } from '../event/audit-event-filter';
import {
  CachedEventRead,
  charactersOf,
  NAME_FACTOR,
  type ParsedRead,
  queryIn,
  waitFor,
} from './cached-reads';
import {
  type AuditEventCountsDto,
  AuditEventCountsQuery,
  countQueryOf,
} from './dto/audit-event-counts.dto';
import {
  type CountPaths,
  type CountQuery,
  EventCounts,
  type FoundCounts,
  type ParsedCount,
} from './event-counts';
import { ReadScheduler } from './read-scheduler';
import { TenantVersions } from './tenant-versions';

/** Part of the permits and connections that counts may have together, at least one: each may take seconds. */
const COUNTS_PART = 0.25;

const REST_PATHS: CountPaths = { startDate: 'start_date', timeZone: 'time_zone' };

interface ParsedCounts extends ParsedRead {
  request: ParsedCount;
}

/** Cached counts of events. */
@Injectable()
export class CachedCounts extends CachedEventRead<ParsedCounts> {
  readonly namespace = 'audit_events_counts';
  /** Waited for before the permits of a read, in rotation of the organizations. */
  readonly permits: PermitPool;

  constructor(
    private readonly counts: EventCounts,
    scheduler: ReadScheduler,
    versions: TenantVersions,
    @Inject(concurrencyConfig.KEY) concurrency: ConfigType<typeof concurrencyConfig>,
    @Inject(databaseConfig.KEY) { poolMax }: ConfigType<typeof databaseConfig>,
  ) {
    super(scheduler, versions);
    const { maxRequests, enableQueue, queueSize, queueTimeoutMs } = concurrency;
    this.permits = new PermitPool({
      max: Math.max(1, Math.floor(COUNTS_PART * Math.min(maxRequests, poolMax))),
      queueSize: maxRequests + (enableQueue ? queueSize : 0),
      queueTimeoutMs,
    });
  }

  protected parseUrl(principal: Principal, url: string): ParsedCounts {
    const query = validQuery(AuditEventCountsQuery, queryIn(url)) as AuditEventCountsQuery;
    return this.parseCounts(principal, countQueryOf(query), REST_PATHS, NAME_FACTOR * url.length);
  }

  /** Parses a request for counts. @throws AppError as EventCounts.parse. */
  parseCounts(
    principal: Principal,
    query: CountQuery,
    paths: CountPaths,
    characters = 0,
  ): ParsedCounts {
    const request = this.counts.parse(principal, query, paths);
    const { filter, by, timeZone, organizations } = request;
    const filterText = filterFingerprint(filter, { field: 'timestamp', direction: 'desc' });
    return {
      flow: flowKey(principal),
      request,
      tenants: organizations,
      query: queryHash(JSON.stringify([filterText, by, timeZone])),
      variant: '',
      characters: characters + charactersOf(principal),
    };
  }

  read(
    { flow, request }: ParsedCounts,
    signal?: AbortSignal,
    ready?: Promise<unknown>,
  ): Promise<SharedResponse> {
    return this.permits.run({ flow, signal, isNotified: true }, () =>
      this.scheduler.read({ flow, signal }, async () => {
        await waitFor(signal, ready);
        const found = await this.counts.count(request, signal);
        const head = exactBuffer(JSON.stringify(responseOf(request, found)));
        return {
          head,
          tailData: null,
          ...(found.countedFrom === undefined ? {} : { isTransient: true }),
        };
      }),
    );
  }

  accepts(tailData: unknown): boolean {
    return tailData === null;
  }

  render(): Rendering {
    return { tail: '', headers: {} };
  }
}

function responseOf(
  { by }: ParsedCount,
  { counts, total, distinct, countedFrom }: FoundCounts,
): AuditEventCountsDto {
  return {
    by,
    counts: counts.map(({ value, events, start, end }) => ({
      value,
      count: events,
      ...(start === null ? {} : { startDate: start }),
      ...(end === null ? {} : { endDate: end }),
    })),
    total,
    distinct,
    countIsExact: countedFrom === undefined,
    ...(countedFrom === undefined ? {} : { countedFrom: formatInstant(countedFrom) }),
  };
}
