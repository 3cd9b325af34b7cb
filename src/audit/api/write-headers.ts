import { createHash } from 'node:crypto';
import { type Principal, principalScope } from '../../auth/principal';
import type { IdempotencyClaim } from '../../concurrency/idempotency-keys';
import { type BodyRequest, RAW_BODY } from '../../http/body-reader';
import { validationFailed } from '../../platform/errors/app-error';
import { eventLocation } from '../event/audit-event';
import type { RecordedBulk, RecordedEvent } from '../write/audit.service';

/** Headers that decide about the events of a request beside its body, as text. */
export const EVENT_HEADERS = Symbol('headers of events');

export interface EventRequest extends BodyRequest {
  [EVENT_HEADERS]?: string;
}

const PRINTABLE = /^[\x20-\x7e]{1,255}$/;

/**
 * Claim of an `Idempotency-Key`, if any. Keys belong to the token's issuer, tenant and subject; `kind` separates a single
 * event from a bulk request of the same bytes, the two paths of a route do not.
 */
export function idempotencyClaimOf(
  request: EventRequest,
  principal: Principal,
  kind: string,
): IdempotencyClaim | undefined {
  const key = request.headers['idempotency-key'];
  if (key === undefined) return undefined;
  if (typeof key !== 'string' || !PRINTABLE.test(key)) {
    const message = 'must be 1 to 255 printable ASCII characters';
    throw validationFailed([{ path: 'Idempotency-Key', message }]);
  }
  const body = request[RAW_BODY] ?? Buffer.alloc(0);
  const prefix = `${kind}\n${request[EVENT_HEADERS] ?? ''}`;
  const requestHash = createHash('sha256').update(prefix).update(body).digest();
  return { subject: principal.subject, scope: principalScope(principal), key, requestHash };
}

export interface WriteResponse {
  status: number;
  /** Alternating names and values. */
  headers: string[];
}

/** 201 with the URL of the event, also for a replay; 200 for a duplicate. */
export function eventWriteResponse({ receipt, replayed }: RecordedEvent): WriteResponse {
  const status = receipt.status === 'created' ? 201 : 200;
  return { status, headers: ['Location', eventLocation(receipt.id), ...replayHeaders(replayed)] };
}

export function bulkWriteResponse({ replayed }: RecordedBulk): WriteResponse {
  return { status: 201, headers: replayHeaders(replayed) };
}

function replayHeaders(replayed: boolean): string[] {
  return replayed ? ['Idempotency-Replayed', 'true'] : [];
}
