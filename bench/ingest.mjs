// Writing: single events from 1 to 512 clients against one INSERT each; bulk against COPY FROM by psql.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { COPY_COLUMNS, copyLine, eventsOf } from './data.mjs';
import { onPath, pgbenchPath } from './programs.mjs';
import {
  interleaved,
  load,
  report,
  startReference,
  startService,
  token,
  withClient,
} from './support.mjs';

const SECONDS = Number(process.env.BENCH_SECONDS ?? 3);
const JSON_HEADERS = { 'Content-Type': 'application/json' };
const BODIES = 500;
const SINGLE = [
  [1, 0.9],
  [16, undefined],
  [64, 2.5],
  [512, 4],
];
const BULK = [
  [100, 0.5],
  [1000, 0.6],
  [10_000, 0.6],
];
/** Rows that one psql copies, so that its start does not count. */
const COPIED_ROWS = 40_000;
/** pgbench has one connection for each client, and a server has a hundred of them. */
const MOST_PGBENCH_CLIENTS = 64;

export async function ingest(databaseUrl) {
  const service = await startService(databaseUrl, { REQUEST_MAX_SIZE_MB: '64' });
  await withClient(databaseUrl, async (client) => {
    await client.query('CREATE TABLE bench_plain (LIKE audit_event INCLUDING ALL)');
    await client.query('ALTER TABLE bench_plain ALTER id SET DEFAULT gen_random_uuid()');
  });
  const reference = await startReference(databaseUrl);
  const folder = mkdtempSync(join(tmpdir(), 'audit-bench-'));
  const authorization = `Bearer ${await token(['org-1'])}`;
  const run = {
    databaseUrl,
    service,
    reference,
    folder,
    headers: { ...JSON_HEADERS, authorization },
  };
  try {
    await singles(run);
    await bulk(run);
  } finally {
    await service.stop();
    await reference.stop();
    rmSync(folder, { recursive: true });
  }
}

async function singles({ databaseUrl, service, reference, folder, headers }) {
  const events = eventsOf('org-1', BODIES);
  const body = events.map((event) => JSON.stringify(event));
  const script = join(folder, 'insert.sql');
  writeFileSync(script, insertStatement(events[0]));
  const post = { method: 'POST', body };
  for (const [connections, wanted] of SINGLE) {
    const works = {
      ours: () =>
        load({ ...post, url: `${service.url}/api/v1/audit/events`, connections, headers }),
      plain: () => load({ ...post, url: reference.url, connections, headers: JSON_HEADERS }),
    };
    if (pgbenchPath()) works.pgbench = () => pgbench(databaseUrl, script, connections);
    const { ours, plain, pgbench: bare } = await interleaved(works);
    report(
      `single writes, ${connections} clients, vs one INSERT each (events/s)`,
      ours,
      plain,
      wanted,
    );
    if (bare) report(`single writes, ${connections} clients, vs pgbench (events/s)`, ours, bare);
  }
  if (!pgbenchPath())
    console.log('pgbench: NOT MEASURED, it is neither on the PATH nor where Debian puts it');
}

/** The row of an event as one INSERT, for pgbench: no HTTP, no JSON, no driver. */
function insertStatement(event) {
  const text = (value) =>
    value === undefined ? 'NULL' : `'${String(value).replaceAll("'", "''")}'`;
  const json = (value) => (value === undefined ? 'NULL' : text(JSON.stringify(value)));
  const values = [
    text(event.organizationId), 'clock_timestamp()', 'gen_random_uuid()', '1', 'clock_timestamp()',
    text(event.principalId), text(event.action), text(event.targetResourceType), text(event.targetResourceId),
    text(event.status), text(event.outcomeDescription), text(event.dataClassification), text(event.correlationId),
    json(event.sessionContext), json(event.metadata),
  ]; // prettier-ignore
  // A colon before a letter would be a variable of pgbench.
  return `INSERT INTO bench_plain VALUES (${values.join(', ')});\n`.replace(
    /:(?=[A-Za-z_])/g,
    ': ',
  );
}

async function pgbench(databaseUrl, script, connections) {
  const clients = Math.min(connections, MOST_PGBENCH_CLIENTS);
  const said = await output(pgbenchPath(), [
    '-n', '-M', 'prepared', '-T', String(SECONDS), '-c', String(clients), '-j', String(Math.min(clients, cpus().length)),
    '-f', script, databaseUrl,
  ]); // prettier-ignore
  const [, rate] = /tps = ([\d.]+)/.exec(said) ?? [];
  if (rate === undefined) throw new Error(`pgbench: ${said}`);
  return Number(rate);
}

async function bulk({ databaseUrl, service, folder, headers }) {
  const url = `${service.url}/api/v1/audit/events/bulk`;
  const hasPsql = onPath('psql');
  if (!hasPsql) console.log('bulk against COPY FROM: NOT MEASURED, there is no psql on the PATH');
  for (const [size, wanted] of hasPsql ? BULK : []) {
    const events = eventsOf('org-1', size);
    const body = JSON.stringify({ events });
    const copy = copyCommands(folder, events);
    const { ours, copied } = await interleaved({
      ours: async () => size * (await load({ url, connections: 2, method: 'POST', headers, body })),
      copied: async () => {
        const startedMs = performance.now();
        await output('psql', ['-q', '-v', 'ON_ERROR_STOP=1', '-f', copy, databaseUrl]);
        return (COPIED_ROWS * 1000) / (performance.now() - startedMs);
      },
    });
    report(`bulk of ${size}, 2 clients, vs COPY FROM by psql (events/s)`, ours, copied, wanted);
  }
}

/** A script of psql that copies the events again and again, one transaction each time. */
function copyCommands(folder, events) {
  const now = new Date().toISOString();
  const rows = join(folder, `rows-${events.length}.copy`);
  writeFileSync(rows, events.map((event, index) => copyLine(event, index, now)).join(''));
  const script = join(folder, `copy-${events.length}.sql`);
  const command = `\\copy bench_plain (${COPY_COLUMNS}) FROM '${rows}'\n`;
  writeFileSync(script, command.repeat(COPIED_ROWS / events.length));
  return script;
}

async function output(command, parameters) {
  const child = spawn(command, parameters, { stdio: ['ignore', 'pipe', 'pipe'] });
  const said = ['', ''];
  child.stdout.on('data', (chunk) => (said[0] += chunk));
  child.stderr.on('data', (chunk) => (said[1] += chunk));
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${command} ended with ${code}: ${said[1]}`);
  return said[0];
}
