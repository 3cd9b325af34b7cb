// What writers notice of maintenance: the 99th percentile of single writes without and during it, in one run.
import autocannon from 'autocannon';
import { report, sampleEvent, startService, token, withClient } from './support.mjs';

const CONNECTIONS = 16;
const SECONDS = Number(process.env.BENCH_SECONDS ?? 8);
/** Months whose rows are mostly dead, and months past retention that are dropped. */
const WORN_MONTHS = 8;
const ROWS_OF_MONTH = 60_000;
const EXPIRED_MONTHS = 24;
const RETENTION_DAYS = 1000;

export async function maintenance(databaseUrl) {
  const service = await startService(databaseUrl, {
    DATABASE_UPKEEP_INTERVAL_SECONDS: '2',
    RETENTION_DAYS: String(RETENTION_DAYS),
  });
  const headers = {
    'Content-Type': 'application/json',
    authorization: `Bearer ${await token(['org-1'])}`,
  };
  const body = JSON.stringify(sampleEvent('org-1'));
  const url = `${service.url}/api/v1/audit/events`;
  const write = (meanwhile) => latencyDuring({ url, headers, body }, meanwhile);
  const quiet = () => write(() => new Promise((resolve) => setTimeout(resolve, SECONDS * 1000)));
  try {
    await quiet(); // warm
    await withClient(databaseUrl, wear);
    const before = await quiet();
    const manager = { authorization: `Bearer ${await token(['*'], 'performance:manage')}` };
    let result;
    const during = await write(async () => {
      const response = await fetch(`${service.url}/api/v1/performance/database/optimize`, {
        method: 'POST',
        headers: manager,
      });
      result = await response.json();
    });
    const after = await quiet();
    const { vacuumResults, reindexResults } = result.maintenanceResults;
    const done = (list) => list.filter(({ action }) => action === 'done').length;
    console.log(
      `  optimize took ${Math.round(during.ms)} ms: ${done(vacuumResults)} of ${vacuumResults.length} tables vacuumed, ` +
        `${done(reindexResults)} of ${reindexResults.length} indexes rebuilt`,
    );
    report(
      'write p99, without vs during optimize (ms)',
      (before.p99 + after.p99) / 2,
      during.p99,
      0.5,
    );
    await withClient(databaseUrl, (client) => retire(client, write));
  } finally {
    await service.stop();
  }
}

/** Writes from CONNECTIONS clients until `meanwhile` is over; the 99th percentile and the longest, in milliseconds. */
async function latencyDuring(request, meanwhile) {
  const running = autocannon({
    ...request,
    method: 'POST',
    connections: CONNECTIONS,
    duration: 600,
  });
  const startMs = performance.now();
  await meanwhile();
  const ms = performance.now() - startMs;
  running.stop();
  const { latency, non2xx, errors } = await running;
  if (non2xx > 0 || errors > 0) throw new Error(`${non2xx} not 2xx, ${errors} errors`);
  return { p99: latency.p99, max: latency.max, ms };
}

const INSERT = (table, from, rows) => `
  INSERT INTO ${table}
  SELECT 'org-' || (i % 1000), ${from} + i * interval '1 second', gen_random_uuid(), i, now(), 'user-' || (i % 97),
    'fhirPatientRead', 'Patient', 'pat-' || i, 'success', 'Opened the chart', 'PHI', 'req-' || i, '{"sessionId":"s-1"}',
    '{"ward":"B2","note":"${'x'.repeat(200)}"}'
  FROM generate_series(1, ${rows}) AS i`;

/** Months of the last year with four fifths of their rows deleted: to be vacuumed, their indexes to be rebuilt. */
async function wear(client) {
  await client.query(`SET timezone = 'UTC'`);
  for (let month = 1; month <= WORN_MONTHS; month += 1) {
    const name = `audit_event_worn_${month}`;
    const from = `date_trunc('month', now()) - interval '${month} months'`;
    await client.query(`CREATE TABLE ${name} (LIKE audit_event INCLUDING ALL)`);
    await client.query(`ALTER TABLE ${name} SET (autovacuum_enabled = off)`);
    await client.query(INSERT(name, from, ROWS_OF_MONTH));
    await client.query(`ANALYZE ${name}`);
    await client.query(`DELETE FROM ${name} WHERE sequence % 5 > 0`);
    await attach(client, name, from);
  }
  // What was just written must not be on its way to the disk while writes are measured. Needs a superuser.
  await client.query('CHECKPOINT').catch(() => undefined);
}

/** Attaches months past retention and writes until the service has dropped them. */
async function retire(client, write) {
  await client.query(`SET timezone = 'UTC'`);
  const names = [];
  for (let month = 0; month < EXPIRED_MONTHS; month += 1) {
    const name = `audit_event_expired_${month}`;
    const from = expiredFrom(month);
    await client.query(`CREATE TABLE ${name} (LIKE audit_event INCLUDING ALL)`);
    await client.query(INSERT(name, from, 10_000));
    names.push(name);
  }
  const quietly = await write(() => new Promise((resolve) => setTimeout(resolve, SECONDS * 1000)));
  const during = await write(async () => {
    await client.query('BEGIN');
    for (const [month, name] of names.entries()) await attach(client, name, expiredFrom(month));
    await client.query('COMMIT');
    for (;;) {
      const { rows } = await client.query(
        `SELECT count(*)::int AS left FROM pg_class WHERE relname = ANY($1)`,
        [names],
      );
      if (rows[0].left === 0) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
  console.log(`  ${names.length} months were dropped within ${Math.round(during.ms)} ms`);
  report('write p99, without vs during retention (ms)', quietly.p99, during.p99, 0.5);
  report('longest write, without vs during retention (ms)', quietly.max, during.max);
}

function expiredFrom(month) {
  return `date_trunc('month', now() - interval '${RETENTION_DAYS + 62} days') - interval '${month} months'`;
}

async function attach(client, name, from) {
  const { rows } = await client.query(
    `SELECT to_char(date_trunc('month', ${from}), 'YYYY-MM-DD') AS low,
            to_char(date_trunc('month', ${from}) + interval '1 month', 'YYYY-MM-DD') AS high`,
  );
  const [{ low, high }] = rows;
  await client.query(
    `ALTER TABLE audit_event ATTACH PARTITION ${name} FOR VALUES FROM ('${low}') TO ('${high}')`,
  );
}
