// node bench/schemas.mjs: what schemas of actions cost an event, on the built classes: processor time of making an event with
// schemas off and on, in turns; the largest schema and the largest event; memory and time of compiled schemas.
// BENCH_DATA names the real records.
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventsOf } from './data.mjs';

const DIST = join(dirname(fileURLToPath(import.meta.url)), '..', 'dist');
const require = createRequire(import.meta.url);
const { EventSchemas } = require(`${DIST}/audit/schemas/event-schemas.js`);
const { CompiledSchema } = require(`${DIST}/audit/schemas/compiled-schema.js`);
const { readSchema } = require(`${DIST}/audit/schemas/schema-document.js`);
const { newEventOf } = require(`${DIST}/audit/write/audit.service.js`);
const { parseExactJson } = require(`${DIST}/platform/runtime/lossless-json.js`);

const ORGANIZATION = 'org-1';
const EVENTS = 2000;
const ROUNDS = 200;
/** Of these, until all functions are compiled. */
const WARM_UP = 60;

/** A closed schema of a value, as a person would write it from examples: types, all members, lengths. */
function schemaOf(value) {
  if (Array.isArray(value)) return { type: 'array', maxItems: 1000, items: {} };
  if (value === null) return {};
  if (typeof value === 'object') {
    const members = Object.entries(value);
    return {
      type: 'object',
      required: members.map(([name]) => name),
      properties: Object.fromEntries(members.map(([name, one]) => [name, schemaOf(one)])),
      additionalProperties: false,
    };
  }
  if (typeof value === 'string') return { type: 'string', maxLength: 10_000 };
  return { type: typeof value };
}

/** The schemas of one organization, without a database. */
async function schemasFor(byAction, mode) {
  const versions = [...byAction.keys()].map((action) => ({ action, version: '1', id: action }));
  const schemas = new EventSchemas(
    {
      findTag: async () => 'tag',
      findActiveSettings: async () =>
        new Map(mode === 'off' ? [] : [[ORGANIZATION, { mode, revision: '1' }]]),
      findActiveVersions: async () => versions,
      find: async ({ action }) => ({ text: byAction.get(action) }),
    },
    { unconfirmedCommits: { isStalled: false } },
  );
  await schemas.refresh();
  return schemas;
}

const median = (all) => [...all].sort((a, b) => a - b)[all.length >> 1];
/** What else runs on the machine only adds time: of many rounds a tenth is not disturbed. */
const undisturbed = (all) => [...all].sort((a, b) => a - b)[Math.floor(all.length / 10)];
const cpuMicros = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

async function rounds(name, dtos, byAction) {
  const kinds = {
    'schemas off': await schemasFor(byAction, 'off'),
    enforce: await schemasFor(byAction, 'enforce'),
  };
  const spent = { none: [], ...Object.fromEntries(Object.keys(kinds).map((kind) => [kind, []])) };
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [kind, times] of Object.entries(spent)) {
      const schemas = kinds[kind];
      if (schemas) await schemas.refresh();
      const startedMicros = cpuMicros();
      const events = dtos.map((dto) => {
        const event = newEventOf(dto);
        schemas?.checkParsed(event, dto);
        return event;
      });
      const faults = await schemas?.check(events, undefined);
      times.push((cpuMicros() - startedMicros) / dtos.length);
      if (faults?.size > 0) throw new Error(`${name}: ${JSON.stringify([...faults][0])}`);
    }
  }
  const [none, off, on] = Object.values(spent).map((times) => undisturbed(times.slice(WARM_UP)));
  console.log(
    `${name}: ${none.toFixed(2)} µs an event without schemas, off ${off.toFixed(2)}, enforce ${on.toFixed(2)}: a check is ${(on - none).toFixed(2)} µs`,
  );
}

const records = eventsOf(ORGANIZATION, EVENTS).map((one) => parseExactJson(JSON.stringify(one)));
const bytes = median(records.map(({ metadata }) => JSON.stringify(metadata ?? null).length));
// Each action has the schema of one of its records; others of the action are left out where they differ.
const byAction = new Map();
const fitting = [];
for (const record of records) {
  const { action, metadata = {} } = record;
  if (!byAction.has(action)) {
    const schema = {
      type: 'object',
      required: ['status'],
      properties: { metadata: schemaOf(metadata) },
    };
    byAction.set(action, { text: JSON.stringify(schema), compiled: undefined });
  }
  const known = byAction.get(action);
  try {
    known.compiled ??= new CompiledSchema(readSchema(known.text));
    if (!known.compiled.faultsOf({ status: 'success', metadata })) fitting.push(record);
  } catch {
    byAction.delete(action); // too large a schema
  }
}
const texts = new Map([...byAction].map(([action, { text }]) => [action, text]));
console.log(
  `${fitting.length} records of ${byAction.size} actions, metadata of ${bytes} bytes in the median`,
);
await rounds('records', fitting, texts);
const small = Array.from({ length: EVENTS }, (_, n) => ({
  organizationId: ORGANIZATION,
  action: 'chart.open',
  status: 'success',
  metadata: { ward: `B${n % 10}`, durationMs: n / 2, beds: n, code: `AB-${1000 + n}` },
  targets: [{ type: 'Patient', id: `pat-${n}` }],
}));
const ward = {
  type: 'object',
  required: ['metadata', 'targets'],
  properties: {
    metadata: {
      type: 'object',
      required: ['ward', 'durationMs'],
      properties: {
        ward: { type: 'string', pattern: '^[A-Z][0-9]$' },
        durationMs: { type: 'number', minimum: 0, multipleOf: 0.5 },
        beds: { type: 'integer', maximum: 100_000 },
        code: { type: 'string', minLength: 4, maxLength: 40 },
      },
      additionalProperties: false,
    },
    targets: { type: 'array', items: { type: 'object', required: ['type', 'id'] } },
  },
};
await rounds('small events', small, new Map([['chart.open', JSON.stringify(ward)]]));
const exact = JSON.parse(JSON.stringify(small)).map((one) => {
  const text = JSON.stringify(one).replace(/"beds":(\d+)/, '"beds":$1.0');
  return parseExactJson(text);
});
await rounds('small events with 1.0', exact, new Map([['chart.open', JSON.stringify(ward)]]));

const worst = {
  'elements by 60 branches': [
    { items: { anyOf: [...Array(60).keys()].map((n) => ({ const: `x${n}` })).concat(true) } },
    Array(65_000).fill(0),
  ],
  'elements by a pattern that grows': [
    { items: { pattern: '^(?:[ab]{0,20}a[ab]{60}c)+$' } },
    Array.from({ length: 250 }, (_, n) =>
      Array.from(
        { length: 1000 },
        (_u, i) => 'ab'[((i * (n + 7) * 31) % 2) ^ ((i >> (n % 5)) & 1)],
      ).join(''),
    ),
  ],
  'unique elements': [{ uniqueItems: true }, [...Array(40_000).keys()]],
  'ten patterns': [
    {
      properties: Object.fromEntries(
        [...Array(10).keys()].map((n) => [`p${n}`, { pattern: `(?:[ab]*a[ab]{${100 + n}}c)+` }]),
      ),
    },
    Object.fromEntries([...Array(10).keys()].map((n) => [`p${n}`, 'abaab'.repeat(204)])),
  ],
};
for (const [name, [schema, list]] of Object.entries(worst)) {
  const compiled = new CompiledSchema(
    readSchema(
      JSON.stringify({
        properties: { metadata: Array.isArray(list) ? { properties: { list: schema } } : schema },
      }),
    ),
  );
  const value = { metadata: Array.isArray(list) ? { list } : list };
  const times = [1, 2, 3].map(() => {
    const startedMs = performance.now();
    compiled.faultsOf(value);
    return performance.now() - startedMs;
  });
  console.log(
    `${name}: ${Math.max(...times).toFixed(1)} ms for an event of ${JSON.stringify(value).length} bytes`,
  );
}

const large = JSON.stringify({
  allOf: [...Array(290).keys()].map((n) => ({ required: [`member${n}`], maxProperties: n + 1 })),
});
for (const [name, text] of [
  ['usual', JSON.stringify(ward)],
  ['largest', large],
]) {
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  const startedMs = performance.now();
  const kept = Array.from({ length: 100 }, () => new CompiledSchema(readSchema(text)));
  const tookMs = performance.now() - startedMs;
  for (const one of kept) one.faultsOf({ metadata: {} });
  globalThis.gc?.();
  const kb = (process.memoryUsage().heapUsed - before) / 1024 / kept.length;
  console.log(
    `a ${name} schema of ${text.length} bytes: ${(tookMs / kept.length).toFixed(2)} ms to compile, ${kb.toFixed(0)} KB kept`,
  );
}
