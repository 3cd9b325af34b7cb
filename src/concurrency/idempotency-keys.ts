import { Injectable } from '@nestjs/common';
import { createHash } from 'node:crypto';
import type { PoolClient } from 'pg';
import { AppError } from '../platform/errors/app-error';

/** A request that wants to be carried out once: whose key, and the SHA-256 of what is asked. */
export interface IdempotencyClaim {
  subject: string;
  key: string;
  requestHash: Buffer;
}

/** An answer as it was (or will be) given, byte for byte. */
export interface StoredResponse {
  status: number;
  location: string | null;
  body: string;
}

/** What there is to a claim: nothing yet, an answer to give again, or a reason to refuse it. */
export type ClaimState = { replay?: StoredResponse; refusal?: AppError };

export const IDEMPOTENCY_TABLE = 'idempotency_key';

interface IdempotencyRow {
  subject: string;
  key: string;
  request_hash: Buffer;
  status: number;
  location: string | null;
  body: string;
}

/**
 * Idempotency keys in PostgreSQL. Claim and answer are part of the transaction that does the work, so that both are
 * there or neither, after a crash too and from every replica. While the first request runs, an advisory lock of its
 * transaction tells the others.
 */
@Injectable()
export class IdempotencyKeys {
  /** What is known of each claim, in their order. Locks the new ones until the transaction of `client` ends. */
  async claim(client: PoolClient, claims: IdempotencyClaim[]): Promise<ClaimState[]> {
    const subjects = claims.map(({ subject }) => subject);
    const keys = claims.map(({ key }) => key);
    const locks = await client.query<{ locked: boolean }>({
      name: 'idempotency-lock',
      text: `SELECT pg_try_advisory_xact_lock(id) AS locked
             FROM unnest($1::bigint[]) WITH ORDINALITY AS t (id, n) ORDER BY n`,
      values: [claims.map(lockOf)],
    });
    // After the locks: a statement sees what was committed before it began.
    const stored = await client.query<IdempotencyRow>({
      name: 'idempotency-find',
      text: `SELECT k.* FROM unnest($1::text[], $2::text[]) AS t (subject, key)
             JOIN idempotency_key k
               ON k.subject = t.subject COLLATE "C" AND k.key = t.key COLLATE "C"`,
      values: [subjects, keys],
    });
    const rows = new Map(stored.rows.map((row) => [claimKey(row), row]));
    return claims.map((claim, index) => {
      const row = rows.get(claimKey(claim));
      if (row) return stateOf(row, claim);
      return locks.rows[index]?.locked ? {} : { refusal: stillRunning() };
    });
  }

  /** Keeps the answers of new claims. */
  async store(
    client: PoolClient,
    answered: { claim: IdempotencyClaim; answer: StoredResponse }[],
  ): Promise<void> {
    await client.query({
      name: 'idempotency-store',
      text: `INSERT INTO idempotency_key (subject, key, request_hash, status, location, body)
             SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::smallint[], $5::text[], $6::text[])`,
      values: [
        answered.map(({ claim }) => claim.subject),
        answered.map(({ claim }) => claim.key),
        answered.map(({ claim }) => claim.requestHash),
        answered.map(({ answer }) => answer.status),
        answered.map(({ answer }) => answer.location),
        answered.map(({ answer }) => answer.body),
      ],
    });
  }
}

/** The refusal of a request whose key is in use by one that has not been answered yet. */
export function stillRunning(): AppError {
  return new AppError('CONFLICT', 'A request with this Idempotency-Key is still running.', {
    retryAfterSeconds: 1,
  });
}

/** Tells claims apart: subject and key hold no U+0001 (keys are printable). */
export function claimKey({ subject, key }: { subject: string; key: string }): string {
  return `${subject}\u0001${key}`;
}

/**
 * The advisory lock of a claim: the first 64 bits of its SHA-256, as PostgreSQL writes a bigint. Texts with a wanted
 * result of `hashtextextended` can be computed, and a client chooses its keys: with one of those it could hold the lock
 * by which partitions are made, or that of another client's request.
 */
function lockOf(claim: IdempotencyClaim): string {
  return createHash('sha256').update(claimKey(claim)).digest().readBigInt64BE().toString();
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
