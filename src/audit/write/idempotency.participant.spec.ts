import type { PoolClient } from 'pg';
import type { StoredResponse } from '../../concurrency/idempotency-keys';
import { IdempotencyParticipant } from './idempotency.participant';
import type {
  TransactionEntry,
  WriteReceipt,
  WriteRequest,
  WriteTransaction,
  Written,
} from './batch-committer';

const ID = '019ab1c2-3e4a-7000-8000-1234567890ab';
const TEXT = `{"id":"${ID}","sequence":"7"}`;

/** Table in memory, of which these tests only need the rows. */
class Rows {
  rows: StoredResponse[] = [];

  claim(): Promise<{ replay?: StoredResponse }[]> {
    return Promise.resolve([{ replay: this.rows[0] }]);
  }

  store(_: PoolClient, kept: { answer: StoredResponse }[]): Promise<void> {
    this.rows = kept.map(({ answer }) => answer);
    return Promise.resolve();
  }
}

const transaction = { defer: () => undefined } as unknown as WriteTransaction;

function entryOf(form: WriteRequest['form'], result?: Written): TransactionEntry {
  const claim = { subject: 'alice', key: 'k', requestHash: Buffer.alloc(32) };
  const request = { form, claim } as WriteRequest;
  return { request, repeats: new Map(), ...(result ? { outcome: { result } } : {}) };
}

async function replayOf(row: StoredResponse, form: WriteRequest['form']): Promise<Written> {
  const table = new Rows();
  table.rows = [row];
  const entry = entryOf(form);
  await new IdempotencyParticipant(table).prepare(transaction, [entry]);
  if (!entry.outcome || !('result' in entry.outcome)) throw new Error('It is not replayed');
  return entry.outcome.result;
}

function rowOf(form: WriteRequest['form'], result: Written): StoredResponse | undefined {
  const table = new Rows();
  const participant = new IdempotencyParticipant(table);
  participant.complete(transaction, [entryOf(form, result)]);
  return table.rows[0];
}

function receipt(status: WriteReceipt['status']): WriteReceipt {
  return { id: ID, sequence: '7', status, text: () => TEXT };
}

describe('the rows of idempotency keys', () => {
  it.each([
    ['created', 201],
    ['duplicate', 200],
  ] as const)(
    'are HTTP responses as every version wrote them: one event, %s',
    async (status, code) => {
      const row = rowOf('event', { receipts: [receipt(status)], text: TEXT, replayed: false });
      const location = `/api/v1/audit/events/${ID}`;
      expect(row).toEqual({ status: code, location, body: TEXT });
      const replay = await replayOf(row as StoredResponse, 'event');
      expect(replay).toMatchObject({ text: TEXT, replayed: true });
      expect(replay.receipts).toMatchObject([{ id: ID, sequence: '7', status }]);
      expect(replay.receipts[0]?.text()).toBe(TEXT);
    },
  );

  it('are lists of HTTP responses, as every version wrote them', async () => {
    const results = [{ index: 0, id: ID, sequence: '7', status: 'created' }];
    const text = JSON.stringify({ created: 1, results });
    const row = rowOf('list', { receipts: [receipt('created')], text, replayed: false });
    expect(row).toEqual({ status: 201, location: null, body: text });
    const replay = await replayOf(row as StoredResponse, 'list');
    expect(replay).toMatchObject({ text, replayed: true });
    expect(replay.receipts).toMatchObject([{ id: ID, sequence: '7', status: 'created' }]);
  });

  it('are not written for replayed and refused requests', () => {
    expect(
      rowOf('event', { receipts: [receipt('created')], text: TEXT, replayed: true }),
    ).toBeUndefined();
  });
});
