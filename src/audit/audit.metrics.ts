import { Injectable } from '@nestjs/common';
import { MeasurementSources } from '../metrics/measurement-sources';
import { labelled, MetricRegistry } from '../metrics/metrics.registry';
import { Database } from '../platform/database/database';
import type { UnconfirmedCommits } from '../platform/database/unconfirmed-commits';
import { LogTimeline } from './event/log-timeline';
import { EventFeed } from './feed/event-feed';
import { OtlpIngest } from './ingest/otlp-ingest';
import { AuditPages } from './read/audit-pages';
import { EventSchemas } from './schemas/event-schemas';
import { AuditWriter } from './write/audit-writer';

const BATCH_BUCKETS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 10_000];
const COMMIT_BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5];
const MS_PER_SECOND = 1000;

/** The writer of events in the service's own figures. */
@Injectable()
export class AuditMetrics {
  constructor(
    registry: MetricRegistry,
    writer: AuditWriter,
    feed: EventFeed,
    otlp: OtlpIngest,
    { unconfirmedCommits }: Database,
    timeline: LogTimeline,
    pages: AuditPages,
    schemas: EventSchemas,
    sources: MeasurementSources,
  ) {
    const batches = registry.histogram(
      'audit_writer_commit_events',
      'Events of one committed transaction, duplicates included.',
      BATCH_BUCKETS,
    );
    const durations = registry.histogram(
      'audit_writer_commit_duration_seconds',
      'Time from the beginning of a transaction that writes events to its commit.',
      COMMIT_BUCKETS_SECONDS,
    );
    const repeats = { duplicates: 0, replays: 0 };
    writer.onCommit(({ events, duplicates, replays, durationMs }) => {
      batches.observe(events);
      durations.observe(durationMs / MS_PER_SECOND);
      repeats.duplicates += duplicates;
      repeats.replays += replays;
    });
    registry.counter(
      'audit_writer_duplicate_events_total',
      'Events with an id that was stored before with the same content: acknowledged, not stored again.',
      () => repeats.duplicates,
    );
    registry.counter(
      'audit_writer_replayed_requests_total',
      'Writes that got the acknowledgement of an earlier one with the same Idempotency-Key.',
      () => repeats.replays,
    );
    registry.counter(
      'audit_otlp_rejected_records_total',
      'Log records of OTLP that were no events, or not allowed, and were not stored.',
      () => otlp.rejectedRecords,
    );
    registry.gauge(
      'audit_writer_waiting_events',
      'Events that wait to be written.',
      () => writer.statistics().waitingEvents,
    );
    registry.gauge(
      'audit_writer_running_transactions',
      'Transactions that write events now.',
      () => writer.statistics().runningTransactions,
    );
    registry.counter(
      'audit_read_partial_pages_total',
      'Pages, of any protocol, whose READ_BUDGET_MS was over before they were full or their list was searched.',
      () => pages.statistics().partialPages,
    );
    offerSchemas(registry, schemas);
    registerUnconfirmedCommits(registry, unconfirmedCommits);
    offerFeed(registry, feed);
    offerTimeline(registry, timeline);
    sources.register('losses', () => timeline.losses());
    sources.register('stalledCommits', () => unconfirmedCommits.isStalled);
  }
}

function offerSchemas(registry: MetricRegistry, schemas: EventSchemas): void {
  registry.counter(
    'audit_schema_checks_total',
    'Events that were checked against a schema of their action.',
    () => schemas.statistics().checked,
  );
  registry.counter(
    'audit_schema_faults_total',
    'Events that do not match their schema, or name a version that does not exist: stored all the same (warn), or refused unless they repeat a stored one (enforce).',
    () => {
      const { warned, refused } = schemas.statistics();
      return labelled('mode', { warn: warned, enforce: refused });
    },
  );
  registry.gauge(
    'audit_schema_organizations',
    'Organizations whose events are checked against schemas.',
    () => schemas.statistics().organizations,
  );
  registry.counter(
    'audit_schema_compilations_total',
    'Schemas that were compiled for checks, again after they made room for others.',
    () => schemas.statistics().compilations,
  );
}

function registerUnconfirmedCommits(
  registry: MetricRegistry,
  unconfirmedCommits: UnconfirmedCommits,
): void {
  registry.counter(
    'audit_commits_unknown_total',
    'Commits of events that were not confirmed: connection lost, wait for a standby interrupted, deadline passed. One that is late first and interrupted later counts twice.',
    () => labelled('reason', unconfirmedCommits.statistics().unknown),
  );
  registry.gauge(
    'audit_organizations_in_doubt',
    'Organizations that are not read, as events of theirs may not be durable; Infinity for all of them.',
    () => unconfirmedCommits.statistics().tenants,
  );
  registry.gauge(
    'audit_commits_stalled',
    '1 while commits are not confirmed, as a synchronous standby does not answer, and writes are refused.',
    () => Number(unconfirmedCommits.isStalled),
  );
}

function offerFeed(registry: MetricRegistry, feed: EventFeed): void {
  registry.counter(
    'audit_feed_events_total',
    'Events that were handed to live subscribers.',
    () => feed.statistics().delivered,
  );
  registry.counter(
    'audit_feed_ends_total',
    'Live feeds of events that ended: left by their reader, token expired, process stopped, reader too slow, log on another timeline.',
    () => labelled('reason', feed.statistics().ends),
  );
}

function offerTimeline(registry: MetricRegistry, timeline: LogTimeline): void {
  registry.counter(
    'audit_log_rewinds_total',
    'Organizations whose log was found to have gone back: PostgreSQL has lost acknowledged events.',
    () => timeline.statistics().rewinds,
  );
  registry.counter(
    'audit_log_positions_refused_total',
    'Cursors and feed positions that were refused because another event, or none, is there now.',
    () => timeline.statistics().refused,
  );
  registry.counter(
    'audit_database_server_changes_total',
    'How often another PostgreSQL server, or another start of it, was found to answer.',
    () => timeline.statistics().serverChanges,
  );
  registry.gauge(
    'audit_database_server_timeline',
    'The timeline on which the primary writes; 0 until it is known. It grows with each promotion and each recovery to a point in time.',
    () => timeline.statistics().timeline,
  );
}
