// Writing: single events from many clients against one INSERT a request; bulk against COPY FROM.
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import copyStreams from 'pg-copy-streams';
import {
  load,
  report,
  sampleEvent,
  startReference,
  startService,
  token,
  withClient,
} from './support.mjs';

const JSON_HEADERS = { 'Content-Type': 'application/json' };

export async function ingest(databaseUrl) {
  const service = await startService(databaseUrl);
  await withClient(databaseUrl, (client) =>
    client.query('CREATE TABLE IF NOT EXISTS bench_plain (LIKE audit_event INCLUDING ALL)'),
  );
  const reference = await startReference(databaseUrl);
  const authorization = `Bearer ${await token(['org-1'])}`;
  const headers = { ...JSON_HEADERS, authorization };
  try {
    for (const [connections, wanted] of [
      [1, undefined],
      [64, 1.2],
      [512, undefined],
    ]) {
      const body = JSON.stringify(sampleEvent('org-1'));
      const plain = await load({
        url: reference.url,
        connections,
        method: 'POST',
        headers: JSON_HEADERS,
        body,
      });
      const ours = await load({
        url: `${service.url}/api/v1/audit/events`,
        connections,
        method: 'POST',
        headers,
        body,
      });
      report(`single writes, ${connections} clients (events/s)`, ours, plain, wanted);
    }
    await bulk(databaseUrl, service, headers);
  } finally {
    await service.stop();
    await reference.stop();
  }
}

async function bulk(databaseUrl, service, headers) {
  const size = 1000;
  const events = Array.from({ length: size }, (_, index) => sampleEvent('org-1', index));
  const body = JSON.stringify({ events });
  const url = `${service.url}/api/v1/audit/events/bulk`;
  const ours = size * (await load({ url, connections: 2, method: 'POST', headers, body }));
  const copied = await withClient(databaseUrl, (client) => copyFor(client, events, 5000));
  report('bulk of 1000, 2 clients, vs COPY FROM (events/s)', ours, copied, 0.5);
}

/** COPY of the same rows in transactions of the same size, for `ms`; rows a second. */
async function copyFor(client, events, ms) {
  const startedMs = performance.now();
  let rows = 0;
  while (performance.now() - startedMs < ms) {
    const now = new Date().toISOString();
    const lines = events.map(
      (event, index) =>
      [
        event.organizationId, now, crypto.randomUUID(), rows + index, now, event.principalId, event.action,
        event.targetResourceType, event.targetResourceId, event.status, event.outcomeDescription,
        event.dataClassification, event.correlationId, JSON.stringify(event.sessionContext),
        JSON.stringify(event.metadata),
      ].join('\t') + '\n', // prettier-ignore
    );
    await pipeline(
      Readable.from(lines.join('')),
      client.query(copyStreams.from('COPY bench_plain FROM STDIN')),
    );
    rows += events.length;
  }
  return (rows * 1000) / (performance.now() - startedMs);
}
