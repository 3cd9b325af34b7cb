import type { JsonAnswer } from '../front/front.adapter';
import type { PageInfo, Paged } from '../pagination/page';
import type { Position } from './page-statement';

/** A page of events. The events are JSON text, for REST to hand on as they are and for other doors to parse. */
export class AuditEventPage implements JsonAnswer, Paged {
  constructor(
    readonly events: readonly string[],
    readonly pagination: PageInfo,
  ) {}

  toJsonText(): string {
    return `{"data":[${this.events.join(',')}],"pagination":${JSON.stringify(this.pagination)}}`;
  }
}

/** One event as JSON text. */
export class AuditEventAnswer implements JsonAnswer {
  constructor(private readonly text: string) {}

  toJsonText(): string {
    return this.text;
  }
}

/** Where an event stands in any order. The projection names these members first, and escapes quotes inside them. */
export function positionOf(eventText: string): Position {
  const head = eventText.slice(0, eventText.indexOf(',"principalId":'));
  const { timestamp, sequence, id, organizationId } = JSON.parse(`${head}}`) as Position;
  return { timestamp, sequence, id, organizationId };
}
