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
 * What a client of the bulk route can see of the service, on loopback and in memory: NDJSON in one transaction, a receipt a
 * line, conflicts, a size limit, and whatever fault a spec asks for next.
 */
export class FakeBulkService {
  /** The events stored, their text by organization and id. */
  readonly stored = new Map<string, string>();
  /** The bodies received, in order, refused ones too. */
  readonly bodies: string[] = [];
  /** Given to the next requests, one each. */
  readonly faults: Fault[] = [];
  maxBodyBytes = Infinity;
  /** Answers a bad event with a 400 that names no event. */
  hidesIndexes = false;
  /** Called for each request before it is answered. */
  onRequest: () => void = () => undefined;
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

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts).toString('utf8');
    this.bodies.push(body);
    this.onRequest();
    const fault = this.faults.shift();
    if (fault && 'status' in fault) {
      response.writeHead(fault.status, fault.headers).end(JSON.stringify(fault.body ?? {}));
      return;
    }
    const answer = this.composedResponseOf(request, body);
    if (fault) {
      response.destroy();
      return;
    }
    response.writeHead(answer.status).end(answer.body);
  }

  private composedResponseOf(request: IncomingMessage, body: string): Answer {
    if (request.method !== 'POST' || request.url !== '/api/v1/audit/events/bulk') {
      return problem(404, 'NOT_FOUND');
    }
    if (request.headers.authorization !== `Bearer ${FAKE_TOKEN}`) {
      return problem(401, 'UNAUTHENTICATED');
    }
    if (Buffer.byteLength(body) > this.maxBodyBytes) return problem(413, 'REQUEST_TOO_LARGE');
    const events = body
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as FakeEvent);
    const faults = events.map((event) => this.faultsIn(event));
    const isFaulty = faults.some((errors) => errors.length > 0);
    if (isFaulty && this.hidesIndexes) return problem(400, 'VALIDATION_FAILED');
    const receipts = events.map((event, index) => {
      const errors = faults[index] ?? [];
      if (errors.length > 0) return { line: index + 1, status: 'rejected', code: 'BAD', errors };
      if (isFaulty) return { line: index + 1, status: 'rejected', code: 'TRANSACTION_REJECTED' };
      return { line: index + 1, status: this.store(event) };
    });
    const lines = [...receipts, { summary: {} }].map((line) => `${JSON.stringify(line)}\n`);
    return { status: 200, body: lines.join('') };
  }

  private faultsIn(event: FakeEvent): FieldError[] {
    const before = this.stored.get(keyOf(event));
    const isConflict = before !== undefined && before !== JSON.stringify(event);
    return isConflict
      ? [{ path: 'id', message: 'exists with other content' }]
      : violationsOf(event);
  }

  private store(event: FakeEvent): string {
    const status = this.stored.has(keyOf(event)) ? 'duplicate' : 'created';
    this.stored.set(keyOf(event), JSON.stringify(event));
    return status;
  }
}

function keyOf(event: FakeEvent): string {
  return `${String(event.organizationId)} ${event.id}`;
}

function violationsOf(event: FakeEvent): FieldError[] {
  const required = (['organizationId', 'action', 'status'] as const)
    .filter((name) => typeof event[name] !== 'string' || event[name].length > 255)
    .map((name) => ({ path: name, message: 'must be a string of 1 to 255' }));
  const unknown = ['sequence', 'recordedAt']
    .filter((name) => name in event)
    .map((name) => ({ path: name, message: 'is not known' }));
  return [...required, ...unknown];
}

function problem(status: number, code: string): Answer {
  return { status, body: JSON.stringify({ status, code, detail: `fake ${code}` }) };
}
