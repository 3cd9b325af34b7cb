import fc from 'fast-check';
import { randomBytes } from 'node:crypto';
import type { NewEvent } from '../../src/audit/event/audit-event';
import { positionOf } from '../../src/audit/read/position';
import { uuid7 } from '../../src/audit/event/uuid7';
import { formatInstant, withSubmicros } from '../../src/platform/runtime/instant';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { newEvent, openReplica, receiptsIn, type Replica, writeRequest } from './replica.fixture';

/** Text that can be stored: any Unicode but NUL and lone surrogates. */
const text = fc
  .oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: 'grapheme' }),
    fc.constantFrom('\t\r\n\b\f"\\/', '\u007f\u0080\u2028\u2029\ufeff', ',"principalId":', '{}'),
  )
  .map((value) => value.replaceAll('\0', '').toWellFormed());
const maybeText = fc.option(text, { nil: null });
const json = fc.option(
  fc
    .dictionary(text, fc.jsonValue(), { maxKeys: 4 })
    .map((value) => JSON.stringify({ ...value, exact: 0 }).replace('"exact":0', '"exact":1.500e3')),
  { nil: null },
);
const jsonList = json.map((one) => one && `[${one},{"path":"x","new":-0.0}]`);
const micros = fc.integer({ min: 0, max: Date.parse('2026-01-01') * 1000 });

const event: fc.Arbitrary<NewEvent> = fc
  .record({
    micros,
    principalId: maybeText,
    action: text,
    targetResourceType: maybeText,
    targetResourceId: maybeText,
    outcomeDescription: maybeText,
    correlationId: maybeText,
    sessionContext: json,
    metadata: json,
    timestampSubmicros: fc.constantFrom(null, '7', '78', '789', '001'),
    sparse: fc.option(
      fc.record({
        principalType: maybeText,
        principalName: maybeText,
        targets: jsonList,
        changes: jsonList,
        source: json,
        schemaVersion: maybeText,
      }),
      { nil: {} },
    ),
    suffix: text,
  })
  .map(({ micros: at, suffix, sparse, ...members }) =>
    newEvent({
      ...members,
      ...sparse,
      id: uuid7(at),
      timestamp: formatInstant(at),
      organizationId: `org-${randomBytes(4).toString('hex')}${suffix}`,
    }),
  );

describe('the text of an event', () => {
  let test: TestDatabase;
  let replica: Replica;

  beforeAll(async () => {
    test = await createTestDatabase();
    replica = await openReplica(test.url);
  });

  afterAll(async () => {
    await replica?.close();
    await test?.drop();
  });

  it('is the same bytes from Node at the acknowledgement and from PostgreSQL ever after', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 1, maxLength: 8 }), async (events) => {
        const receipts = receiptsIn(await replica.writer.write(writeRequest(events)));
        for (const [index, one] of events.entries()) {
          const stored = await replica.queries.findById([one.organizationId], one.id);
          expect(stored).toBe(receipts[index]?.text);
          expect(positionOf(stored ?? '')).toEqual({
            timestamp: withSubmicros(one.timestamp, one.timestampSubmicros),
            sequence: receipts[index]?.sequence,
            id: one.id,
            organizationId: one.organizationId,
            recordedAt: (JSON.parse(stored ?? '') as { recordedAt: string }).recordedAt,
          });
        }
      }),
      { numRuns: 60, endOnFailure: true },
    );
  });
});
