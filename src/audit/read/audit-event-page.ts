import type { JsonResponse } from '../../http/http-server.adapter';

/** One event as JSON text. */
export class AuditEventResponse implements JsonResponse {
  constructor(private readonly text: string) {}

  toJsonText(): string {
    return this.text;
  }
}
