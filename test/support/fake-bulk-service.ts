import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** An answer that the fake gives instead of doing its work; `hangUp` does the work and then cuts the connection. */
export type Fault =
  { status: number; headers?: Record<string, string>; body?: object } | { hangUp: true };

interface Answer {
  status: number;
  body: string;
}

interface FakeEvent {
  id?: string;
  organizationId?: unknown;
  action?: unknown;
  status?: unknown;
}

interface FieldError {
  path: string;
  message: string;
}

/** The token the fake accepts. */
export const FAKE_TOKEN = 'good.fake.token';

/**
 * What a client of the bulk route can see of the service, on loopback and in memory: all or nothing, faults by index,
 * conflicts, idempotency, a size limit, and whatever fault a spec asks for next.
 */
export class FakeBulkService {
  /** The events stored, their text by organization and id. */
  readonly stored = new Map<string, string>();
  /** The bodies received, in order, refused ones too. */
  readonly bodies: string[] = [];
  readonly keys: string[] = [];
  /** Given to the next requests, one each. */
  readonly faults: Fault[] = [];
  maxBodyBytes = Infinity;
  /** Answers a bad event with a 400 that names no event. */
  hidesIndexes = false;
  /** Called for each request before it is answered. */
  onRequest: () => void = () => undefined;
  private readonly remembered = new Map<string, { body: string; answer: Answer }>();
  private readonly server: Server = createServer((request, response) => {
    this.handle(request, response).catch((error: unknown) => response.destroy(error as Error));
  });

  /** Listens on a free port of 127.0.0.1 and gives the URL. */
  async start(): Promise<string> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server.close();
    this.server.closeAllConnections();
    await once(this.server, 'close');
  }

  /** As days later: idempotency keys are forgotten, events are not. */
  forgetKeys(): void {
    this.remembered.clear();
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts).toString('utf8');
    const key = String(request.headers['idempotency-key']);
    this.bodies.push(body);
    this.keys.push(key);
    this.onRequest();
    const fault = this.faults.shift();
    if (fault && 'status' in fault) {
      response.writeHead(fault.status, fault.headers).end(JSON.stringify(fault.body ?? {}));
      return;
    }
    const before = this.remembered.get(key);
    const answer = before ? this.replayed(before, body) : this.answerOf(request, body);
    if (!before && answer.status === 201) this.remembered.set(key, { body, answer });
    if (fault) {
      response.destroy();
      return;
    }
    response.writeHead(answer.status, before ? { 'idempotency-replayed': 'true' } : {});
    response.end(answer.body);
  }

  private replayed(before: { body: string; answer: Answer }, body: string): Answer {
    return before.body === body ? before.answer : problem(422, 'IDEMPOTENCY_MISMATCH');
  }

  private answerOf(request: IncomingMessage, body: string): Answer {
    if (request.method !== 'POST' || request.url !== '/api/v1/audit/events/bulk') {
      return problem(404, 'NOT_FOUND');
    }
    if (request.headers.authorization !== `Bearer ${FAKE_TOKEN}`) {
      return problem(401, 'UNAUTHENTICATED');
    }
    if (Buffer.byteLength(body) > this.maxBodyBytes) return problem(413, 'REQUEST_TOO_LARGE');
    const { events } = JSON.parse(body) as { events: FakeEvent[] };
    const bad = events.flatMap(faultsOf);
    if (bad.length > 0) return problem(400, 'VALIDATION_FAILED', this.hidesIndexes ? [] : bad);
    const conflicts = events.flatMap((event, index) => {
      const before = this.stored.get(keyOf(event));
      return before !== undefined && before !== JSON.stringify(event)
        ? [{ path: `events[${index}].id`, message: 'exists with other content' }]
        : [];
    });
    if (conflicts.length > 0) return problem(409, 'CONFLICT', conflicts);
    return this.store(events);
  }

  private store(events: FakeEvent[]): Answer {
    let created = 0;
    for (const event of events) {
      if (!this.stored.has(keyOf(event))) created += 1;
      this.stored.set(keyOf(event), JSON.stringify(event));
    }
    const duplicates = events.length - created;
    return { status: 201, body: JSON.stringify({ created, duplicates, batches: 1, results: [] }) };
  }
}

function keyOf(event: FakeEvent): string {
  return `${String(event.organizationId)} ${event.id}`;
}

function faultsOf(event: FakeEvent, index: number): FieldError[] {
  const required = (['organizationId', 'action', 'status'] as const)
    .filter((name) => typeof event[name] !== 'string' || event[name].length > 255)
    .map((name) => ({ path: `events[${index}].${name}`, message: 'must be a string of 1 to 255' }));
  const unknown = ['sequence', 'recordedAt']
    .filter((name) => name in event)
    .map((name) => ({ path: `events[${index}].${name}`, message: 'is not known' }));
  return [...required, ...unknown];
}

function problem(status: number, code: string, errors: FieldError[] = []): Answer {
  return { status, body: JSON.stringify({ status, code, detail: `fake ${code}`, errors }) };
}
