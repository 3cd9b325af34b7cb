import type { JsonResponse } from '../../http/http-server.adapter';
import { eventLocation } from '../event/audit-event';
import type { RecordedBulk, RecordedEvent } from '../write/audit.service';

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

/** A body with ready JSON text. `value` is the same for protocols with their own representation. */
export class JsonTextResponse implements JsonResponse {
  constructor(
    private readonly text: string,
    readonly value?: object,
  ) {}

  toJsonText(): string {
    return this.text;
  }
}
