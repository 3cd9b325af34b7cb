import { Injectable } from '@nestjs/common';
import {
  type IdempotencyClaim,
  IdempotencyKeys,
  type StoredResponse,
} from '../../concurrency/idempotency-keys';
import { eventLocation, idOfLocation } from '../event/audit-event';
import type {
  TransactionEntry,
  TransactionParticipant,
  WriteReceipt,
  WriteRequest,
  WriteTransaction,
  Written,
} from './batch-committer';

/**
 * Replays the acknowledgement of a known Idempotency-Key, and stores those of new keys. `IdempotencyKeys.claim` compares
 * the hashes of bodies, and refuses a key that was used with another body.
 */
@Injectable()
export class IdempotencyParticipant implements TransactionParticipant {
  constructor(private readonly keys: IdempotencyKeys) {}

  isNeededBy({ claim }: WriteRequest): boolean {
    return claim !== undefined;
  }

  async prepare({ client }: WriteTransaction, entries: readonly TransactionEntry[]): Promise<void> {
    const claimed = entries.flatMap((entry) => {
      const { claim } = entry.request;
      return claim ? [{ entry, claim }] : [];
    });
    if (claimed.length === 0) return;
    const states = await this.keys.claim(
      client,
      claimed.map(({ claim }) => claim),
    );
    claimed.forEach(({ entry }, index) => {
      const { replay, refusal } = states[index] ?? {};
      if (replay) entry.outcome = { result: replayed(replay) };
      else if (refusal) entry.outcome = { refusal };
    });
  }

  complete({ client, defer }: WriteTransaction, entries: readonly TransactionEntry[]): void {
    const kept: { claim: IdempotencyClaim; answer: StoredResponse }[] = [];
    for (const { request, outcome } of entries) {
      if (!request.claim || !outcome || !('result' in outcome) || outcome.result.replayed) continue;
      kept.push({ claim: request.claim, answer: stored(request.form, outcome.result) });
    }
    if (kept.length > 0) defer(this.keys.store(client, kept));
  }
}

/* Rows hold HTTP responses: earlier and later versions can replay them. */

function stored(form: WriteRequest['form'], { receipts, text }: Written): StoredResponse {
  const [receipt] = receipts;
  if (form === 'list' || !receipt) return { status: 201, location: null, body: text };
  const status = receipt.status === 'created' ? 201 : 200;
  return { status, location: eventLocation(receipt.id), body: text };
}

function replayed({ status, location, body: text }: StoredResponse): Written {
  if (location === null) {
    const { results = [] } = JSON.parse(text) as { results?: Omit<WriteReceipt, 'text'>[] };
    const receipts = results.map(({ id, sequence, status: state }): WriteReceipt => {
      return { id, sequence, status: state, text: notKept };
    });
    return { receipts, text, replayed: true };
  }
  const { sequence } = JSON.parse(text) as { sequence: string };
  const state = status === 201 ? 'created' : 'duplicate';
  const receipt = {
    id: idOfLocation(location),
    sequence,
    status: state,
    text: () => text,
  } as const;
  return { receipts: [receipt], text, replayed: true };
}

function notKept(): never {
  throw new Error('The receipts of a list are stored without the texts of their events.');
}
