import { Injectable } from '@nestjs/common';
import { createHash } from 'node:crypto';
import type { PoolClient } from 'pg';
import { AppError } from '../platform/errors/app-error';

/** Request that is executed once, and the SHA-256 of its content. */
export interface IdempotencyClaim {
  subject: string;
  /** Bytes that distinguish equal subjects of different issuers and tenants; never empty. */
  scope: Buffer;
  key: string;
  requestHash: Buffer;
}

/** Response that is replayed byte for byte. */
export interface StoredResponse {
  status: number;
  location: string | null;
  body: string;
}

/** State of a claim: new, stored with a response to replay, or refused. */
export type ClaimState = { replay?: StoredResponse; refusal?: AppError };

export const IDEMPOTENCY_TABLE = 'idempotency_record';

interface IdempotencyRow {
  subject: string;
  /** Empty in rows of earlier versions, which distinguished subjects only. */
  scope: Buffer;
  key: string;
  request_hash: Buffer;
  status: number;
  location: string | null;
  body: string;
}

/**
 * Idempotency keys in PostgreSQL. Claim and response are part of the transaction that does the work: there are both or
 * neither, also after a crash, and for every replica. An advisory lock of the transaction shows that it still runs.
 */
@Injectable()
export class IdempotencyKeys {
  /** Returns the states of claims, in their order; locks new claims until the transaction of `client` ends. */
  async claim(client: PoolClient, claims: IdempotencyClaim[]): Promise<ClaimState[]> {
    const subjects = claims.map(({ subject }) => subject);
    const keys = claims.map(({ key }) => key);
    // Earlier versions lock the key of a subject exclusively: a shared lock excludes them, and no other scope.
    const locks = await client.query<{ locked: boolean }>({
      name: 'idempotency-lock-scope',
      text: `SELECT pg_try_advisory_xact_lock_shared(earlier) AND pg_try_advisory_xact_lock(id) AS locked
             FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS t (earlier, id, n) ORDER BY n`,
      values: [
        claims.map(({ subject, key }) => lockOf(`${subject}\u0001${key}`)),
        claims.map((claim) => lockOf(claimKey(claim))),
      ],
    });
    // After the locks, as a statement sees what was committed before it began.
    const stored = await client.query<IdempotencyRow>({
      name: 'idempotency-find-scope',
      text: `SELECT DISTINCT k.subject, k.scope, k.key, k.request_hash, k.status, k.location, k.body
             FROM unnest($1::text[], $2::bytea[], $3::text[]) AS t (subject, scope, key)
             JOIN idempotency_record k
               ON k.subject = t.subject COLLATE "C" AND k.key = t.key COLLATE "C" AND k.scope IN (t.scope, '')`,
      values: [subjects, claims.map(({ scope }) => scope), keys],
    });
    const rows = new Map(stored.rows.map((row) => [claimKey(row), row]));
    return claims.map((claim, index) => {
      const row = rows.get(claimKey(claim)) ?? rows.get(claimKey({ ...claim, scope: UNKNOWN }));
      if (row) return stateOf(row, claim);
      return locks.rows[index]?.locked ? {} : { refusal: stillRunning() };
    });
  }

  async store(
    client: PoolClient,
    answered: { claim: IdempotencyClaim; answer: StoredResponse }[],
  ): Promise<void> {
    await client.query({
      name: 'idempotency-store-scope',
      text: `INSERT INTO idempotency_record (subject, key, request_hash, status, location, body, scope)
             SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::smallint[], $5::text[], $6::text[], $7::bytea[])`,
      values: [
        answered.map(({ claim }) => claim.subject),
        answered.map(({ claim }) => claim.key),
        answered.map(({ claim }) => claim.requestHash),
        answered.map(({ answer }) => answer.status),
        answered.map(({ answer }) => answer.location),
        answered.map(({ answer }) => answer.body),
        answered.map(({ claim }) => claim.scope),
      ],
    });
  }
}

/** Creates the refusal of a request while an earlier one with the same key runs. */
export function stillRunning(): AppError {
  return new AppError('CONFLICT', 'A request with this Idempotency-Key is still running.', {
    retryAfterSeconds: 1,
  });
}

/** Scope of rows of earlier versions. */
const UNKNOWN = Buffer.alloc(0);

/** Returns the text of a lock, which is unique: hexadecimal digits and printable keys have no U+0001. */
export function claimKey(claim: Pick<IdempotencyClaim, 'subject' | 'scope' | 'key'>): string {
  return `${claim.scope.toString('hex')}\u0001${claim.subject}\u0001${claim.key}`;
}

/**
 * Returns the first 64 bits of a text's SHA-256. `hashtextextended` does not fit: texts with a chosen result can be
 * computed, and a client's key could take the lock of partitions, or of another client.
 */
function lockOf(text: string): string {
  return createHash('sha256').update(text).digest().readBigInt64BE().toString();
}

function stateOf(row: IdempotencyRow, claim: IdempotencyClaim): ClaimState {
  if (!row.request_hash.equals(claim.requestHash)) {
    return {
      refusal: new AppError(
        'IDEMPOTENCY_MISMATCH',
        'This Idempotency-Key was used for a request with another body.',
      ),
    };
  }
  return { replay: { status: row.status, location: row.location, body: row.body } };
}
