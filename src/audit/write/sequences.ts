import type { PoolClient } from 'pg';
import { parseInstant } from '../../platform/runtime/instant';
import { instantOfDatabase, type NewEvent } from '../event/audit-event';
import { ADVANCE_HEADS } from '../event/audit.statements';
import type { NumberedEvent } from './statement-values';

/** A head row after its move; `recorded_at` is PostgreSQL's text, '-infinity' before the first event. */
export interface HeadRow {
  organization_id: string;
  last_sequence: string;
  recorded_at: string;
}

export interface HeadMove {
  organizationId: string;
  last: string;
  count: number;
  /** Microseconds since 1970. */
  micros: number;
}

/** Moves of these rows; a row that was only locked has not moved. */
export function movesOf(heads: HeadRow[], counts: ReadonlyMap<string, number>): HeadMove[] {
  return heads.flatMap(({ organization_id: organizationId, last_sequence: last, recorded_at }) => {
    const count = counts.get(organizationId) ?? 0;
    if (count === 0) return [];
    const micros = parseInstant(recorded_at.replace(' ', 'T')) ?? 0;
    return [{ organizationId, last, count, micros }];
  });
}

/** Number of events per organization, in the order in which all writers lock. */
export function countByOrganization(events: NewEvent[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { organizationId } of events) {
    counts.set(organizationId, (counts.get(organizationId) ?? 0) + 1);
  }
  if (counts.size < 2) return counts;
  const organizations = [...counts.keys()].sort();
  return new Map(organizations.map((id) => [id, counts.get(id) ?? 0]));
}

/** Moves head rows and locks them until the transaction ends. */
export async function advanceHeads(
  client: PoolClient,
  counts: ReadonlyMap<string, number>,
): Promise<HeadRow[]> {
  const values = [[...counts.keys()], [...counts.values()]];
  return (await client.query<HeadRow>({ ...ADVANCE_HEADS, values })).rows;
}

/** Assigns each event its organization's next number, in order of arrival. */
export function assignSequences(
  events: NewEvent[],
  counts: Map<string, number>,
  heads: HeadRow[],
): Map<NewEvent, NumberedEvent> {
  const next = new Map(
    heads.map(({ organization_id: id, last_sequence, recorded_at }) => [
      id,
      {
        sequence: BigInt(last_sequence) - BigInt(counts.get(id) ?? 0) + 1n,
        recordedAt: instantOfDatabase(recorded_at),
      },
    ]),
  );
  const numbered = new Map<NewEvent, NumberedEvent>();
  for (const event of events) {
    const head = next.get(event.organizationId);
    if (!head) throw new Error('An organization has no head row');
    const { sequence, recordedAt } = head;
    head.sequence += 1n;
    numbered.set(event, { event, sequence: String(sequence), recordedAt });
  }
  return numbered;
}
