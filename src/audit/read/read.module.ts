import { Module } from '@nestjs/common';
import { CachingModule } from '../../caching/caching.module';
import { ConcurrencyModule } from '../../concurrency/concurrency.module';
import { HttpModule } from '../../http/http.module';
import { CursorCodec } from '../../pagination/cursor.codec';
import { Database } from '../../platform/database/database';
import { DatabaseModule } from '../../platform/database/database.module';
import { EventModule } from '../event/event.module';
import { AuditPages } from './audit-pages';
import { AuditQueries } from './audit.queries';
import { AuditSearch } from './audit-search';
import { CachedEvents, CachedPages } from './cached-reads';
import { EventWarmup } from './event-warmup';
import { ReadScheduler } from './read-scheduler';
import { ResponseComposition } from './response-composition';
import { TenantVersions } from './tenant-versions';

@Module({
  imports: [CachingModule, ConcurrencyModule, DatabaseModule, EventModule, HttpModule],
  providers: [
    AuditPages,
    AuditQueries,
    AuditSearch,
    CachedEvents,
    CachedPages,
    EventWarmup,
    ReadScheduler,
    ResponseComposition,
    TenantVersions,
    { provide: CursorCodec, inject: [Database], useFactory: cursorCodec },
  ],
  exports: [AuditPages, AuditQueries, AuditSearch, CachedEvents, CachedPages, ReadScheduler],
})
export class ReadModule {}

/** Signs cursors with the first migration's key: the same on every replica and after a restart. */
async function cursorCodec(database: Database): Promise<CursorCodec> {
  const key = await database.withClient(async (client) => {
    const { rows } = await client.query<{ value: Buffer }>(
      `SELECT value FROM service_secret WHERE name = 'cursor'`,
    );
    return rows[0]?.value;
  });
  if (!key) throw new Error('The table service_secret has lost the key for cursors.');
  return new CursorCodec(key);
}
