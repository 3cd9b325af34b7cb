import type { PoolClient } from 'pg';
import type { AppError } from '../../platform/errors/app-error';
import type { NewEvent } from '../event/audit-event';
import type { WriteRequest, Written } from './write-request';
import type { HeadMove } from './sequences';

export interface WriteTransaction {
  client: PoolClient;
  /** Sends statements without needed results along with COMMIT; a failed one rolls all back. */
  defer: (statement: Promise<unknown>) => void;
  /** Moved head rows: their sequences become true with the commit. */
  moves: HeadMove[];
}

export interface TransactionEntry {
  readonly request: WriteRequest;
  /** The end of the request, after which it is skipped. */
  outcome?: { result: Written } | { refusal: AppError };
  /** Text of the stored event, or earlier event of the batch, that the event at this index repeats. */
  readonly repeats: Map<number, { text?: string; first?: NewEvent }>;
}

/**
 * A part that is atomic with a write. A batch without work for participants is one statement; any other a transaction
 * that calls them in the order of their list (WriteModule).
 */
export interface TransactionParticipant {
  isNeededBy(request: WriteRequest): boolean;
  /** Runs before events get sequences: may end entries, or mark events as repeats. */
  prepare(transaction: WriteTransaction, entries: readonly TransactionEntry[]): Promise<void>;
  /** Runs after the inserts, with outcomes set, before COMMIT. `created` are the new events. */
  complete(
    transaction: WriteTransaction,
    entries: readonly TransactionEntry[],
    created: readonly NewEvent[],
  ): void;
}

export const TRANSACTION_PARTICIPANTS = Symbol('TRANSACTION_PARTICIPANTS');
