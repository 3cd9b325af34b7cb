import type { PoolClient } from 'pg';
import type { AppError } from '../../platform/errors/app-error';
import type { NewEvent } from '../event/audit-event';
import type { WriteRequest, Written } from './write-request';
import type { HeadMove } from './sequences';

/** A transaction that writes a batch. */
export interface WriteTransaction {
  client: PoolClient;
  /** Takes statements whose results are not needed: they travel with COMMIT, and one that fails rolls all back. */
  defer: (statement: Promise<unknown>) => void;
  /** Filled with the head rows that it moves on: only the commit makes these the sequences of events. */
  moves: HeadMove[];
}

/** One request on its way through the transaction. */
export interface TransactionEntry {
  readonly request: WriteRequest;
  /** Set once it has ended: nothing more is done for it. */
  outcome?: { result: Written } | { refusal: AppError };
  /** By index of its events: the text of the stored event that it repeats, or the earlier event of the batch. */
  readonly repeats: Map<number, { text?: string; first?: NewEvent }>;
}

/**
 * A part of what is atomic with a write. A batch for which no participant has work is written by one statement; any other
 * by a transaction in which the participants are called in the order of their list (WriteModule).
 */
export interface TransactionParticipant {
  /** Whether it has work for this request. */
  isNeededBy(request: WriteRequest): boolean;
  /** Before events get their sequences: may end entries, or mark events as repeats. */
  prepare(transaction: WriteTransaction, entries: readonly TransactionEntry[]): Promise<void>;
  /** After events are inserted and the entries have their outcomes, before COMMIT. `created` are the new events. */
  complete(
    transaction: WriteTransaction,
    entries: readonly TransactionEntry[],
    created: readonly NewEvent[],
  ): void;
}

/** The list of participants, for injection. */
export const TRANSACTION_PARTICIPANTS = Symbol('TRANSACTION_PARTICIPANTS');
