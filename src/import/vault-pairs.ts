import { valueAt } from './field-table';
import type { RawRecord } from './raw-record';
import { objectOf, textOf } from './record-mapping';

/** Limits of requests that wait for their response; the oldest becomes an event of its own. */
const MAX_WAITING = 10_000;
const MAX_WAITING_BYTES = 16 * 1024 * 1024;

interface Entry {
  type?: unknown;
  id?: string;
  error?: unknown;
}

/**
 * Joins entries of a Vault audit device: a response has all that its request has, so the two are one record. A request
 * without a response (by the end, or beyond the limits), or with an error that its response does not have, stays one.
 */
export async function* joinVaultPairs(
  records: AsyncIterable<RawRecord>,
): AsyncGenerator<RawRecord> {
  const waiting = new Map<string, { record: RawRecord; error: unknown }>();
  let bytes = 0;
  const take = (id: string) => {
    const request = waiting.get(id);
    waiting.delete(id);
    bytes -= request?.record.bytes.length ?? 0;
    return request;
  };
  for await (const record of records) {
    const { type, id, error } = entryOf(record);
    const request = id === undefined ? undefined : take(id);
    if (type === 'request' && id !== undefined) {
      if (request) yield request.record;
      // A copy: a record may be a small part of what was read, and would hold all of it.
      waiting.set(id, { record: { ...record, bytes: Buffer.from(record.bytes) }, error });
      bytes += record.bytes.length;
      for (const oldest of waiting.keys()) {
        if (waiting.size <= MAX_WAITING && bytes <= MAX_WAITING_BYTES) break;
        const expired = take(oldest);
        if (expired) yield expired.record;
      }
    } else if (request && type === 'response' && (request.error ?? error) === error) {
      yield { ...record, lines: 2 };
    } else {
      if (request) yield request.record;
      yield record;
    }
  }
  for (const { record } of waiting.values()) yield record;
}

/** Nothing of a record that is not JSON, which its reader refuses. */
function entryOf({ bytes, isTooLong }: RawRecord): Entry {
  if (isTooLong) return {};
  try {
    const entry = objectOf(JSON.parse(bytes.toString('utf8').replace(/^\ufeff/, ''))) ?? {};
    return {
      type: entry.type,
      id: textOf(valueAt(entry, 'request.id')),
      error: textOf(entry.error),
    };
  } catch {
    return {};
  }
}
