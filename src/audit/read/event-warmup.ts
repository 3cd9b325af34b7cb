import { Injectable, type OnModuleInit } from '@nestjs/common';
import type { Principal } from '../../auth/principal';
import type { Tenants } from '../../caching/cache-key';
import { CacheWarmup, type WarmupPlan, type WarmupStep } from '../../caching/cache-warmup';
import { Database } from '../../platform/database/database';
import { wallClockMs } from '../../platform/runtime/clocks';
import { parseInstant } from '../../platform/runtime/instant';
import { EVENTS_PATH } from '../event/audit-event';
import type { AuditEventFilter } from '../event/audit-event-filter';
import { AuditPages, type CursorPosition, type PageEdges } from './audit-pages';
import { CachedPages } from './cached-reads';

/** Readers seldom page further. */
const MAX_PAGES = 10;
/** More would exceed the time limit of a request. */
const MAX_ORGANIZATIONS = 1000;
const DAY_MS = 86_400_000;

/** Cached pages are the same for all readers of these organizations. */
const SYSTEM_PRINCIPAL: Principal = {
  subject: '',
  scopes: new Set(),
  organizations: '*',
  expiresAtMs: 0,
};

/**
 * Pages for warm-up: the default list of each organization, and of all together as a token for several requests it,
 * newest first as far back as `days`; and the list since that day.
 */
@Injectable()
export class EventWarmup implements WarmupPlan, OnModuleInit {
  constructor(
    readonly read: CachedPages,
    private readonly pages: AuditPages,
    private readonly database: Database,
    private readonly warmup: CacheWarmup,
  ) {}

  onModuleInit(): void {
    this.warmup.register(this);
  }

  async steps(tenants: Tenants, days: number): Promise<WarmupStep[]> {
    const since = new Date(wallClockMs() - days * DAY_MS).toISOString().slice(0, 10);
    const sinceMicros = parseInstant(`${since}T00:00:00Z`) ?? 0;
    const startDate = { micros: sinceMicros, submicros: '' };
    const organizations = tenants === '*' ? await this.mostRecent() : tenants;
    const lists = organizations.map((id) => [id]);
    const all =
      tenants === '*' || tenants.length > 1 ? [tenants === '*' ? ['*'] : [...tenants]] : [];
    return [...all, ...lists].flatMap((organizationIds) => [
      this.page({ organizationIds }, sinceMicros, 1),
      this.page({ organizationIds, startDate }, sinceMicros, MAX_PAGES),
    ]);
  }

  private page(
    filter: AuditEventFilter,
    sinceMicros: number,
    number: number,
    from?: CursorPosition,
  ): WarmupStep {
    const page = { ...this.pages.parse(SYSTEM_PRINCIPAL, { filter }), ...(from ? { from } : {}) };
    return {
      description: this.read.parsePage(SYSTEM_PRINCIPAL, page, EVENTS_PATH),
      path: EVENTS_PATH,
      next: (tailData) => {
        const { next } = (tailData as { edges: PageEdges }).edges;
        if (typeof next !== 'object' || number >= MAX_PAGES) return undefined; // lists by time have events
        if ((parseInstant(next.timestamp) ?? 0) < sinceMicros) return undefined;
        return this.page(filter, sinceMicros, number + 1, { backward: false, edge: next });
      },
    };
  }

  private async mostRecent(): Promise<string[]> {
    return this.database.withReader(async (client) => {
      const { rows } = await client.query<{ organization_id: string }>(
        'SELECT organization_id FROM audit_organization ORDER BY recorded_at DESC LIMIT $1',
        [MAX_ORGANIZATIONS],
      );
      return rows.map((row) => row.organization_id);
    });
  }
}
