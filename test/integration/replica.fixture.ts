import { Logger } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { DataSource } from 'typeorm';
import { EVENT_TABLE, type NewEvent } from '../../src/audit/event/audit-event';
import { AuditQueries } from '../../src/audit/read/audit.queries';
import {
  BatchCommitter,
  type WriteReceipt,
  type WriteRequest,
} from '../../src/audit/write/batch-committer';
import { TenantVersions } from '../../src/audit/read/tenant-versions';
import { SealedRanges } from '../../src/audit/search/sealed-ranges';
import { SealedReads } from '../../src/audit/search/sealed-reads';
import { LogTimeline } from '../../src/audit/event/log-timeline';
import { AuditWriter } from '../../src/audit/write/audit-writer';
import { eventMicros, uuid7 } from '../../src/audit/event/uuid7';
import { DuplicatesParticipant } from '../../src/audit/write/duplicates.participant';
import { IdempotencyParticipant } from '../../src/audit/write/idempotency.participant';
import { SchemaParticipant } from '../../src/audit/write/schema.participant';
import { IdempotencyKeys } from '../../src/concurrency/idempotency-keys';
import { EventLoopPressure } from '../../src/concurrency/event-loop-pressure';
import { EventLoopYielder } from '../../src/platform/runtime/event-loop-yielder';
import { databaseConfig, type DatabaseConfig } from '../../src/platform/config/settings';
import { dataSourceOptions } from '../../src/platform/database/data-source';
import { Database } from '../../src/platform/database/database';
import { MaintainedTables } from '../../src/platform/database/maintained-tables';
import { type Month, monthOf, Partitions } from '../../src/platform/database/partitions';
import { ReadReplica, ReadReplicas } from '../../src/platform/database/read-replicas';
import { formatInstant } from '../../src/platform/runtime/instant';

/** What one process of the service has of the database: several of them on one URL are several replicas. */
export interface Replica {
  dataSource: DataSource;
  database: Database;
  tables: MaintainedTables;
  partitions: Partitions;
  contention: EventLoopPressure;
  writer: AuditWriter;
  queries: AuditQueries;
  versions: TenantVersions;
  timeline: LogTimeline;
  sealed: SealedRanges;
  close(): Promise<void>;
}

/** The first months of the partitions of the events, oldest first. */
export async function listMonths(partitions: Partitions): Promise<Month[]> {
  return (await partitions.find(EVENT_TABLE)).flatMap(({ lowerMs, isDetaching }) =>
    lowerMs === null || isDetaching ? [] : [monthOf(new Date(lowerMs).toISOString())],
  );
}

/** Opens the real classes on the database at `url`, wired as the modules wire them. */
export async function openReplica(
  url: string,
  overrides: Partial<DatabaseConfig> = {},
): Promise<Replica> {
  Logger.overrideLogger(false); // failures are provoked here; they would drown the report
  const config: DatabaseConfig = { ...databaseConfig(), poolMin: 0, poolMax: 4, ...overrides };
  const dataSource = await new DataSource(dataSourceOptions(url, config)).initialize();
  const readReplicas = new ReadReplicas(
    config.replicaUrls.map(
      (replicaUrl, index) =>
        new ReadReplica(`Read replica ${index + 1}`, dataSourceOptions(replicaUrl, config)),
    ),
  );
  const database = new Database(dataSource, readReplicas);
  const tables = new MaintainedTables();
  const partitions = new Partitions(database, tables);
  const timeline = new LogTimeline();
  const versions = new TenantVersions(database, timeline);
  const portions = new EventLoopYielder();
  const participants = [
    new IdempotencyParticipant(new IdempotencyKeys()),
    new DuplicatesParticipant(),
    new SchemaParticipant(),
  ];
  const committer = new BatchCommitter(database, portions, participants, timeline);
  const contention = new EventLoopPressure(portions);
  const sealed = new SealedRanges(database);
  return {
    dataSource,
    database,
    tables,
    partitions,
    contention,
    writer: new AuditWriter(database, partitions, committer, contention),
    queries: new AuditQueries(database, versions, timeline, new SealedReads(sealed)),
    versions,
    timeline,
    sealed,
    close: async () => {
      await database.beforeApplicationShutdown();
      await readReplicas.onApplicationShutdown();
      await dataSource.destroy();
    },
  };
}

/** An event as the service makes it of a request; `changes` override any of it. */
export function newEvent(changes: Partial<NewEvent> = {}): NewEvent {
  const micros = eventMicros();
  return {
    id: uuid7(micros),
    hasClientId: false,
    timestamp: formatInstant(micros),
    timestampSubmicros: null,
    hasClientTimestamp: false,
    organizationId: 'org-1',
    principalId: null,
    action: 'test',
    targetResourceType: null,
    targetResourceId: null,
    status: 'success',
    outcomeDescription: null,
    dataClassification: 'INTERNAL',
    correlationId: null,
    sessionContext: null,
    metadata: null,
    principalType: null,
    principalName: null,
    targets: null,
    changes: null,
    source: null,
    schemaVersion: null,
    ...changes,
  };
}

/** An event with an id that its client chose. */
export function clientEvent(changes: Partial<NewEvent> = {}): NewEvent {
  return newEvent({ id: randomUUID(), hasClientId: true, ...changes });
}

/** A request that is acknowledged with its receipts themselves as JSON. */
export function writeRequest(
  events: NewEvent[],
  changes: Partial<WriteRequest> = {},
): WriteRequest {
  return {
    events,
    batchSize: 1000,
    pathOf: (index) => `events[${index}]`,
    flow: 'org-1',
    form: 'list',
    textOf: (receipts) =>
      JSON.stringify(receipts.map((receipt) => ({ ...receipt, text: receipt.text() }))),
    ...changes,
  };
}

/** A receipt as the text of a `writeRequest` holds it. */
export type Receipt = Omit<WriteReceipt, 'text'> & { text: string };

/** The receipts inside the text of a `writeRequest`. */
export function receiptsIn(written: { text: string }): Receipt[] {
  return JSON.parse(written.text) as Receipt[];
}
