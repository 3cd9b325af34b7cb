// Exports against `psql` copying the same rows, and the ingest of NDJSON against COPY FROM of the same rows.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  report,
  residentMb,
  root,
  sampleEvent,
  startService,
  token,
  withClient,
} from './support.mjs';

const require = createRequire(import.meta.url);
const ROWS = 300_000;
const LARGE_ROWS = Number(process.env.BENCH_LARGE_ROWS ?? 3_000_000);
const INGEST_ROWS = 100_000;
const MAX_GROWTH_MB = 64;

export async function stream(databaseUrl) {
  const service = await startService(databaseUrl);
  const authorization = `Authorization: Bearer ${await token(['*'], 'audit:write audit:export')}`;
  const run = { databaseUrl, service, authorization };
  try {
    await fill(databaseUrl, 'export', ROWS);
    await curl(run, 'format=ndjson&organization_ids=export'); // warm-up
    for (const [format, wanted] of [
      ['ndjson', 0.85],
      ['json', undefined],
      ['csv', undefined],
    ]) {
      await besidePsql(run, format, wanted);
    }
    await besideQueryStream(run);
    await compressed(run);
    await memory(run, 'export', ROWS);
    await ingest(run);
    if (LARGE_ROWS > 0) {
      await fill(databaseUrl, 'large', LARGE_ROWS);
      await memory(run, 'large', LARGE_ROWS);
    }
  } finally {
    await service.stop();
  }
}

/** Rows of one organization over the partitions that are there, as the service would have written them. */
async function fill(databaseUrl, organization, rows) {
  const event = sampleEvent(organization);
  await withClient(databaseUrl, async (client) => {
    await client.query(
      `INSERT INTO audit_event
       SELECT $1, date_trunc('month', now()) + i * interval '1 millisecond', gen_random_uuid(), i, now(), 'user-' || i % 97, $3, $4,
         'pat-' || i, 'success', $5, 'PHI', 'req-' || i, $6::json, $7::json
       FROM generate_series(1, $2::int) AS i`,
      [
        organization, rows, event.action, event.targetResourceType, event.outcomeDescription,
        JSON.stringify(event.sessionContext), JSON.stringify(event.metadata),
      ], // prettier-ignore
    );
    await client.query('VACUUM ANALYZE audit_event');
  });
}

/** Runs a program with its output thrown away; seconds. */
async function seconds(command, args, options = {}) {
  const startedMs = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'], ...options });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${command} ended with ${code}`);
  return (performance.now() - startedMs) / 1000;
}

const curl = ({ service, authorization }, query, ...more) =>
  seconds('curl', [
    '-sSf', '-o', '/dev/null', '-H', authorization, ...more,
    `${service.url}/api/v1/audit/events/stream?${query}`,
  ]); // prettier-ignore

/** Runs each three times, interleaved; the medians. */
async function interleaved(...works) {
  const taken = works.map(() => []);
  for (let round = 0; round < 3; round += 1) {
    for (const [index, work] of works.entries()) taken[index].push(await work());
  }
  return taken.map((times) => times.sort((a, b) => a - b)[1]);
}

/** What the service itself would have PostgreSQL do. */
function copyOf(format, organization) {
  const { exportStatement } = require(join(root, 'dist/audit/export/export-statement.js'));
  const { statement, settings } = exportStatement({
    organizations: [organization],
    filter: {},
    sort: { field: 'timestamp', direction: 'desc' },
    format,
    isRawCsv: false,
  });
  return Object.entries(settings)
    .map(([name, value]) => `SET ${name} = ${value}`)
    .concat(statement)
    .flatMap((command) => ['-c', command]);
}

async function besidePsql(run, format, wanted) {
  const psql = ['-q', run.databaseUrl, ...copyOf(format, 'export')];
  const [ours, theirs] = await interleaved(
    () => curl(run, `format=${format}&organization_ids=export`),
    () => seconds('psql', psql),
  );
  report(`export ${format}, 300 000, vs psql COPY (events/s)`, ROWS / ours, ROWS / theirs, wanted);
}

async function besideQueryStream(run) {
  const env = { ...process.env, DATABASE_URL: run.databaseUrl, ORGANIZATION: 'export' };
  const [ours, theirs] = await interleaved(
    () => curl(run, 'format=ndjson&organization_ids=export'),
    () => seconds(process.execPath, [join(root, 'bench/query-stream.mjs')], { env }),
  );
  report('export ndjson vs pg-query-stream, stringify (events/s)', ROWS / ours, ROWS / theirs, 1.5);
}

async function compressed(run) {
  const query = 'format=ndjson&organization_ids=export';
  const [plain, gzip, brotli] = await interleaved(
    () => curl(run, query),
    () => curl(run, query, '-H', 'Accept-Encoding: gzip'),
    () => curl(run, query, '-H', 'Accept-Encoding: br'),
  );
  report('export ndjson gzip vs plain (events/s)', ROWS / gzip, ROWS / plain);
  report('export ndjson br vs plain (events/s)', ROWS / brotli, ROWS / plain);
}

/** By how much the service grows over an export at most; the ratio is of what it may grow. */
async function memory(run, organization, rows) {
  const before = residentMb(run.service.pid);
  let most = before;
  const watching = setInterval(() => {
    most = Math.max(most, residentMb(run.service.pid));
  }, 20);
  await curl(run, `format=ndjson&organization_ids=${organization}`);
  clearInterval(watching);
  report(
    `memory for growth over ${rows} events (MB)`,
    MAX_GROWTH_MB,
    Math.max(most - before, 1),
    1,
  );
}

async function ingest({ databaseUrl, service, authorization }) {
  const folder = mkdtempSync(join(tmpdir(), 'audit-bench-'));
  try {
    const events = Array.from({ length: INGEST_ROWS }, (_, index) => sampleEvent('ingest', index));
    const body = join(folder, 'events.ndjson');
    writeFileSync(body, events.map((event) => `${JSON.stringify(event)}\n`).join(''));
    const table = join(folder, 'events.copy');
    const now = new Date().toISOString();
    writeFileSync(
      table,
      events
        .map(
          (event, index) =>
          [
            event.organizationId, now, crypto.randomUUID(), index, now, event.principalId, event.action,
            event.targetResourceType, event.targetResourceId, event.status, event.outcomeDescription,
            event.dataClassification, event.correlationId, JSON.stringify(event.sessionContext),
            JSON.stringify(event.metadata),
          ].join('\t') + '\n', // prettier-ignore
        )
        .join(''),
    );
    await withClient(databaseUrl, (client) =>
      client.query('CREATE TABLE IF NOT EXISTS bench_plain (LIKE audit_event INCLUDING ALL)'),
    );
    const ours = await seconds('curl', [
      '-sSf', '-o', '/dev/null', '-X', 'POST', '-T', body, '-H', authorization,
      '-H', 'Content-Type: application/x-ndjson', `${service.url}/api/v1/audit/events/bulk`,
    ]); // prettier-ignore
    const theirs = await seconds('psql', [
      '-q', databaseUrl, '-c', `\\copy bench_plain FROM '${table}'`,
    ]); // prettier-ignore
    report('ingest ndjson vs psql COPY FROM (events/s)', INGEST_ROWS / ours, INGEST_ROWS / theirs);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
