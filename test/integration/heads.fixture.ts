import { randomBytes } from 'node:crypto';
import type { Client } from 'pg';
import { newEvent, type Replica, writeRequest } from './replica.fixture';

/** Holds the head row of an organization, which every writer of it needs, until released. */
export async function lockHead(
  admin: Client,
  organization: string,
): Promise<{ release: () => Promise<unknown> }> {
  await admin.query('BEGIN');
  await admin.query('SELECT FROM audit_organization WHERE organization_id = $1 FOR UPDATE', [
    organization,
  ]);
  return { release: () => admin.query('COMMIT') };
}

/** How many connections to this database wait for a row. */
export async function waitingForHeads(admin: Client): Promise<number> {
  const { rows } = await admin.query<{ pid: number }>(
    `SELECT DISTINCT l.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid)
     WHERE NOT l.granted AND l.locktype IN ('transactionid', 'tuple')
       AND a.datname = current_database()`,
  );
  return rows.length;
}

/** Occupies the writer of `replica` with a group that waits, so that what `work` writes shares the next one. */
export async function whileOccupied(
  admin: Client,
  { writer }: Replica,
  work: () => Promise<unknown>,
): Promise<void> {
  const organizationId = `gate-${randomBytes(4).toString('hex')}`;
  await writer.write(writeRequest([newEvent({ organizationId })]));
  const lock = await lockHead(admin, organizationId);
  const blocked = writer.write(writeRequest([newEvent({ organizationId })]));
  const working = work();
  await lock.release();
  await Promise.all([blocked, working]);
}

/** The sequences of an organization, lowest first. */
export async function sequencesOf(admin: Client, organization: string): Promise<number[]> {
  const { rows } = await admin.query<{ sequence: string }>(
    'SELECT sequence FROM audit_event WHERE organization_id = $1 ORDER BY sequence',
    [organization],
  );
  return rows.map(({ sequence }) => Number(sequence));
}

/** The last number given to an event of an organization; 0 when there is none. */
export async function headOf(admin: Client, organization: string): Promise<number> {
  const { rows } = await admin.query<{ last_sequence: string }>(
    'SELECT last_sequence FROM audit_organization WHERE organization_id = $1',
    [organization],
  );
  return Number(rows[0]?.last_sequence ?? 0);
}

/** 1 to `last`. */
export function oneTo(last: number): number[] {
  return Array.from({ length: last }, (_, index) => index + 1);
}
