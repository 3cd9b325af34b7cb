import type { IdempotencyClaim } from '../../concurrency/idempotency-keys';
import type { NewEvent } from '../event/audit-event';
import type { Queued } from './commit-queue';

/** The end of one event of a request. */
export interface WriteReceipt {
  id: string;
  sequence: string;
  status: 'created' | 'duplicate';
  /** Makes the event as it is stored, as JSON text. */
  text: () => string;
}

/** A request to write events, all of them or none. */
export interface WriteRequest extends Omit<Queued, 'size' | 'keys'> {
  events: NewEvent[];
  /** Rows per INSERT. */
  batchSize: number;
  /** Where event `index` stands in what the client sent: '' or `events[3]`. */
  pathOf: (index: number) => string;
  claim?: IdempotencyClaim;
  /** Whether it is acknowledged as one event or as a list of receipts. */
  form: 'event' | 'list';
  /** Makes the JSON text of the acknowledgement. Called before the commit, as it is stored with the idempotency key. */
  textOf?: (receipts: readonly WriteReceipt[], batches: number) => string;
}

/** What was written. On a replay all of it is what the first request was acknowledged with. */
export interface Written {
  receipts: readonly WriteReceipt[];
  /** JSON text of the acknowledgement; empty for a request without `textOf`. */
  text: string;
  replayed: boolean;
}
