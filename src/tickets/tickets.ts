import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { createHash } from 'node:crypto';
import { invalidToken } from '../auth/challenge';
import { type Principal, principalKey, principalScope } from '../auth/principal';
import { PermitPool } from '../concurrency/permit-pool';
import { concurrencyConfig, ticketConfig } from '../platform/config/settings';
import { Database } from '../platform/database/database';
import { isLockTimeout, toDatabaseError } from '../platform/database/database-errors';
import { AppError } from '../platform/errors/app-error';
import { wallClockMs } from '../platform/runtime/clocks';
import { TicketCodec, TicketSecret } from './ticket-codec';

export const TICKET_TABLE = 'access_ticket';

/**
 * Connections that issue tickets at once. Requests of one principal wait for each other in PostgreSQL: with more
 * connections a single principal would hold all of the pool, which reads of others need.
 */
const MAX_CONNECTIONS = 2;
/** Limit after which the lock of a principal belongs to a stuck transaction, as of a replica that hangs. */
const LOCK_TIMEOUT_MS = 1000;

/** A ticket and the moment (milliseconds since 1970) from which it opens nothing. */
export interface IssuedTicket {
  ticket: string;
  expiresAtMs: number;
}

/**
 * Tickets in PostgreSQL, valid on every replica. A row holds a token sealed with its ticket: neither the table nor a
 * ticket whose row is gone gives access. Lifetimes are by the clock of the database, which replicas share.
 */
@Injectable()
export class Tickets {
  /** Hashes of tickets being redeemed: further uses are refused without a query. */
  private readonly underWay = new Set<string>();
  private readonly permits: PermitPool;

  constructor(
    private readonly database: Database,
    private readonly codec: TicketCodec,
    @Inject(ticketConfig.KEY) private readonly config: ConfigType<typeof ticketConfig>,
    @Inject(concurrencyConfig.KEY)
    private readonly concurrency: ConfigType<typeof concurrencyConfig>,
  ) {
    const { maxRequests, enableQueue, queueSize, queueTimeoutMs } = concurrency;
    this.permits = new PermitPool({
      max: MAX_CONNECTIONS,
      queueSize: enableQueue ? Math.max(maxRequests, queueSize) : maxRequests,
      queueTimeoutMs,
    });
  }

  /**
   * Issues a ticket for a verified token, valid for AUTH_TICKET_TTL_SECONDS and no longer than the token. Principals take
   * turns.
   * @throws AppError RATE_LIMITED when the principal has as many unused tickets as it may have subscriptions;
   * DATABASE_UNAVAILABLE, also when another ticket of the principal is not done in time; what PermitPool.run throws.
   */
  issue(principal: Principal, token: string, signal: AbortSignal): Promise<IssuedTicket> {
    const flow = principalKey(principal);
    return this.permits.run({ flow, signal }, () => this.insert(principal, token, signal));
  }

  private async insert(
    principal: Principal,
    token: string,
    signal: AbortSignal,
  ): Promise<IssuedTicket> {
    const { subject, expiresAtMs: tokenExpiresAtMs } = principal;
    const { ttlSeconds } = this.config;
    const { maxSubscriptionsPerPrincipal: most } = this.concurrency;
    const secret = new TicketSecret();
    const scope = principalScope(principal);
    const issued = await this.database
      .transaction(
        async (client) => {
          // One at a time for each principal: statements under way at once would not count each other's rows.
          await client.query({
            name: 'ticket-lock',
            text: `SELECT pg_advisory_xact_lock($1) FROM set_config('lock_timeout', $2, true)`,
            values: [lockOf(principalKey(principal)), String(LOCK_TIMEOUT_MS)],
          });
          const { rows } = await client.query<{ expires_at_ms: number }>({
            name: 'ticket-issue',
            text: `WITH expired AS (
                     DELETE FROM access_ticket WHERE subject = $2 AND scope = $7 AND expires_at <= clock_timestamp())
                   INSERT INTO access_ticket (hash, subject, sealed_token, expires_at, scope)
                   SELECT $1, $2, $3, date_trunc('milliseconds', least(
                     clock_timestamp() + $4 * interval '1 second', to_timestamp($5::float8 / 1000))), $7
                   WHERE (SELECT count(*) FROM access_ticket
                          WHERE subject = $2 AND scope = $7 AND expires_at > clock_timestamp()) < $6
                   RETURNING (extract(epoch FROM expires_at) * 1000)::float8 AS expires_at_ms`,
            values: [
              secret.hash,
              subject,
              secret.seal(token),
              ttlSeconds,
              tokenExpiresAtMs,
              most,
              scope,
            ],
          });
          return rows[0];
        },
        { signal },
      )
      .catch((error: unknown) => {
        throw isLockTimeout(error) ? lockedOut(error) : toDatabaseError(error);
      });
    if (!issued) {
      throw new AppError(
        'RATE_LIMITED',
        `This principal has ${most} unused tickets, as many as it may: use them, or wait until they have expired.`,
        { retryAfterSeconds: ttlSeconds },
      );
    }
    const expiresAtMs = Math.round(issued.expires_at_ms);
    return { ticket: this.codec.encode({ secret, expiresAtMs }), expiresAtMs };
  }

  /**
   * The token of a ticket, for the first of all its uses on any replica.
   * @throws AppError UNAUTHENTICATED for a ticket that was not issued here, has expired or was used.
   */
  async redeem(text: string): Promise<string> {
    const ticket = this.codec.decode(text);
    if (!ticket) throw invalidToken('malformed', 'The ticket is not valid.');
    const { secret, expiresAtMs } = ticket;
    const { hash } = secret;
    const key = hash.toString('base64');
    if (this.underWay.has(key)) throw used();
    this.underWay.add(key);
    try {
      const { rows } = await this.database.withClient((client) =>
        client.query<{ sealed_token: Buffer; is_valid: boolean }>({
          name: 'ticket-redeem',
          text: `DELETE FROM access_ticket WHERE hash = $1
                 RETURNING sealed_token, expires_at > clock_timestamp() AS is_valid`,
          values: [hash],
        }),
      );
      const [row] = rows;
      if (row?.is_valid) return secret.open(row.sealed_token);
      // Without a row only the words depend on the clock of this process.
      throw row || expiresAtMs <= wallClockMs() ? expired() : used();
    } finally {
      this.underWay.delete(key);
    }
  }
}

/** First 64 bits of a SHA-256, as of idempotency keys: no principal can be chosen so that it takes another lock. */
function lockOf(principal: string): string {
  const text = `${TICKET_TABLE}\u0001${principal}`;
  return createHash('sha256').update(text).digest().readBigInt64BE().toString();
}

function lockedOut(cause: unknown): AppError {
  return new AppError(
    'DATABASE_UNAVAILABLE',
    'Another ticket of this principal is being issued, and is not done in time.',
    { retryAfterSeconds: 2, cause },
  );
}

function expired(): AppError {
  return invalidToken('expired', 'The ticket has expired. Ask for a new one.');
}

function used(): AppError {
  return invalidToken(
    'ticket_used',
    'The ticket has been used: each opens one connection. Ask for a new one.',
  );
}
