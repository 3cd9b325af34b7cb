import type { IdempotencyClaim } from '../../concurrency/idempotency-keys';
import type { NewEvent } from '../event/audit-event';
import type { Queued } from './commit-queue';

export interface WriteReceipt {
  id: string;
  sequence: string;
  status: 'created' | 'duplicate';
  text: () => string;
}

/** A request to write events, all or none. */
export interface WriteRequest extends Omit<Queued, 'size' | 'keys'> {
  events: NewEvent[];
  /** Rows per INSERT. */
  batchSize: number;
  /** Path of event `index` in the client's request: '' or `events[3]`. */
  pathOf: (index: number) => string;
  claim?: IdempotencyClaim;
  /** Acknowledgement as one event or as a list of receipts. */
  form: 'event' | 'list';
  /** Makes the acknowledgement before the commit: it is stored with the idempotency key. */
  textOf?: (receipts: readonly WriteReceipt[], batches: number) => string;
}

/** Result of a write. A replay repeats the first acknowledgement. */
export interface Written {
  receipts: readonly WriteReceipt[];
  /** JSON text of the acknowledgement; empty for a request without `textOf`. */
  text: string;
  replayed: boolean;
}
