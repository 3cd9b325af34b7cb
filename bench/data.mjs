// The events that the benchmarks write: records of BENCH_DATA when it names a folder of them, else made up with the
// same distributions. Neither has an id or a timestamp: the service makes those.
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

const require = createRequire(import.meta.url);
const DIST = join(dirname(fileURLToPath(import.meta.url)), '..', 'dist/import');
const FOLDER = process.env.BENCH_DATA;
/** Of each source that is there: one AWS record for each edit of a wiki. */
const KEPT = 2800;

let records;

/** `count` events of an organization, the same ones each time. */
export function eventsOf(organizationId, count) {
  records ??= FOLDER ? recordsOf(FOLDER) : Array.from({ length: 2 * KEPT }, (_, n) => madeUp(n));
  return Array.from({ length: count }, (_, n) => ({
    ...records[n % records.length],
    organizationId,
  }));
}

/** The value of each column of an event as COPY wants it, in the order of COPY_COLUMNS. */
export function copyLine(event, sequence, timestamp) {
  const json = (value) => (value === undefined ? undefined : JSON.stringify(value));
  const values = [
    event.organizationId, timestamp, sequence, timestamp, event.principalId, event.action, event.targetResourceType,
    event.targetResourceId, event.status, event.outcomeDescription, event.dataClassification ?? 'INTERNAL',
    event.correlationId, json(event.sessionContext), json(event.metadata),
  ]; // prettier-ignore
  return `${values.map((value) => (value === undefined ? '\\N' : escapeCopy(String(value)))).join('\t')}\n`;
}

/** All but the id: the table makes one for each row, so that the same lines can be copied again. */
export const COPY_COLUMNS =
  'organization_id, timestamp, sequence, recorded_at, principal_id, action, target_resource_type, target_resource_id, ' +
  'status, outcome_description, data_classification, correlation_id, session_context, metadata';

const ESCAPES = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };

function escapeCopy(text) {
  return text.replace(/[\\\t\n\r]/g, (character) => ESCAPES[character]);
}

function recordsOf(folder) {
  const { mapCloudTrail } = require(join(DIST, 'cloudtrail.mapping.js'));
  const { mapWikipedia } = require(join(DIST, 'wikipedia.mapping.js'));
  const all = [
    ['cloudtrail-invictus', mapCloudTrail],
    ['wikipedia-edits', mapWikipedia],
  ].map(([name, map]) => {
    const file = join(folder, name, 'records.ndjson.gz');
    if (!existsSync(file)) throw new Error(`BENCH_DATA: there is no ${file}`);
    const lines = gunzipSync(readFileSync(file)).toString().trimEnd().split('\n').slice(0, KEPT);
    return lines.map((line) => eventOf(JSON.parse(line), map));
  });
  return all[0].flatMap((record, n) => [record, all[1][n]]);
}

function eventOf(value, map) {
  const event = map({ value, organizationId: 'none' });
  return { ...event, id: undefined, timestamp: undefined, metadata: value };
}

/** A generator of numbers in [0, 1) that is the same on every machine (mulberry32). */
export function randomOf(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * One of two kinds, alternating. Calls of an API: metadata of 1170 bytes in the median and 1800 in the 95th percentile,
 * nested and with nulls, a tenth of them failed, 17 principals of which one makes nine tenths, 260 actions. Edits of
 * texts: 420 and 550 bytes, half of them with characters beyond ASCII, 7600 principals.
 */
function madeUp(n) {
  const random = randomOf(n);
  const isCall = n % 2 === 0;
  const pick = (count) => Math.floor(count * random() ** 3); // few are many
  const bytes = Math.round(
    (isCall ? 1170 : 420) * Math.exp((random() - 0.5) * (isCall ? 0.9 : 0.6)),
  );
  const rest = (taken) => 'x'.repeat(Math.max(0, bytes - taken));
  if (!isCall) {
    return {
      principalId: `Editor ${pick(7600)}`,
      action: random() < 0.06 ? 'page.create' : 'page.edit',
      targetResourceType: 'Main',
      targetResourceId: `${random() < 0.5 ? 'Страница' : 'Page'} ${pick(32_000)}`,
      status: 'success',
      outcomeDescription: random() < 0.8 ? `/* Section ${n} */ références, größer` : undefined,
      dataClassification: 'PUBLIC',
      metadata: { channel: '#en.wikipedia', cityName: null, added: pick(900), page: rest(120) },
    };
  }
  const hasFailed = random() < 0.1;
  return {
    principalId: random() < 0.92 ? 'arn:aws:iam::111122223333:user/one' : `arn:role/${pick(16)}`,
    action: `service-${pick(30)}:Call${pick(260)}`,
    targetResourceType: `service-${pick(30)}.example.com`,
    targetResourceId: random() < 0.5 ? `resource-${pick(400)}` : undefined,
    status: hasFailed ? 'failure' : 'success',
    outcomeDescription: hasFailed ? 'AccessDenied: not authorized to perform this' : undefined,
    dataClassification: random() < 0.05 ? 'CONFIDENTIAL' : 'INTERNAL',
    correlationId: `request-${n}`,
    sessionContext: {
      sessionId: `AKIA${n}`,
      ipAddress: 'AWS Internal',
      userAgent: '[Console/0.4, sdk-java/1.12 "x86_64"]',
    },
    metadata: {
      eventVersion: '1.08',
      userIdentity: {
        type: 'IAMUser',
        attributes: { mfaAuthenticated: 'true', creationDate: null },
      },
      requestParameters: { Host: 'api.example.com', list: [1, 2.5, { deep: { deeper: null } }] },
      responseElements: null,
      duration: 1.688560107857e9,
      note: rest(330),
    },
  };
}
