import { randomInt, randomUUID } from 'node:crypto';
import { EVENTS } from '../support/test-service';

/** How events are sent: one by one, several in one transaction, as lines, and by the two other protocols. */
export type Form = 'single' | 'bulk' | 'lines' | 'graphql' | 'trpc';
const FORMS: readonly Form[] = ['single', 'single', 'bulk', 'lines', 'graphql', 'trpc'];

/** An event as it is sent. The ledger finds it again by its mark (`correlationId`), which no other event has. */
export interface SentEvent {
  id?: string;
  timestamp?: string;
  organizationId: string;
  action: string;
  status: 'success';
  correlationId: string;
  metadata: Record<string, unknown>;
}

/** A request that writes. */
export interface WriteRequest {
  form: Form;
  /** The `Idempotency-Key`; undefined without one. */
  key: string | undefined;
  events: SentEvent[];
  /** After how many milliseconds its client gives up; undefined: it waits for the answer. */
  hangUpAfterMs: number | undefined;
  /** Whether it may be sent again without storing anything twice: by its key, or by ids of its own. */
  isRepeatable: boolean;
}

/** How a request goes over the wire. */
export interface WireRequest {
  path: string;
  body: string;
  headers: Record<string, string>;
}

/** Any of the forms, with or without a key and ids of the client's; marks begin with `name`. */
export function randomWrite(
  name: string,
  organizations: readonly string[],
  canHangUp = true,
): WriteRequest {
  const form = FORMS[randomInt(FORMS.length)] ?? 'single';
  const count = form === 'single' || form === 'graphql' ? 1 : randomInt(1, 6);
  const hasIds = randomInt(3) === 0;
  const organizationId = organizations[randomInt(organizations.length)] ?? '';
  const events = Array.from({ length: count }, (_, index): SentEvent => {
    // Some lie in an older month, so that several partitions take part.
    const isOld = randomInt(8) === 0;
    return {
      ...(hasIds ? { id: randomUUID() } : {}),
      ...(isOld ? { timestamp: `2026-0${randomInt(8, 10)}-01T00:00:00.00000${index}Z` } : {}),
      organizationId,
      action: 'fault.drill',
      status: 'success',
      correlationId: `${name}.${index}`,
      metadata: { exact: 12345.678, text: 'ä"\\ ', nested: { list: [1, null, true] } },
    };
  });
  const key = form !== 'lines' && randomInt(2) === 0 ? `key ${name}` : undefined;
  const hangUpAfterMs = canHangUp && randomInt(4) === 0 ? randomInt(20, 400) : undefined;
  return { form, key, events, hangUpAfterMs, isRepeatable: hasIds || key !== undefined };
}

const CREATE = `mutation ($event: CreateAuditEventInput!) {
  createAuditEvent(event: $event) { id sequence }
}`;

/** Path, body and headers of a request; the same each time. */
export function wireOf({ form, key, events }: WriteRequest): WireRequest {
  const headers: Record<string, string> = { 'content-type': 'application/json' };
  if (key !== undefined) headers['idempotency-key'] = key;
  const [first] = events;
  const json = (path: string, body: unknown) => ({ path, body: JSON.stringify(body), headers });
  switch (form) {
    case 'single':
      return json(EVENTS, first);
    case 'bulk':
      return json(`${EVENTS}/bulk`, { events });
    case 'trpc':
      return json('/trpc/performance.bulkCreateAuditEvents', { events });
    case 'graphql': {
      const event = { ...first, status: 'SUCCESS' };
      return json('/graphql', { query: CREATE, variables: { event } });
    }
    case 'lines': {
      const body = `${events.map((event) => JSON.stringify(event)).join('\n')}\n`;
      return {
        path: `${EVENTS}/bulk`,
        body,
        headers: { ...headers, 'content-type': 'application/x-ndjson' },
      };
    }
  }
}
