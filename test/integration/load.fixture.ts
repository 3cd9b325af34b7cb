import { randomInt, randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';

/** An answer of the service, or why there was none. */
export type Answer =
  { status: number; body: string; replayed: boolean; retryAfter?: string } | { lost: Error };

/** A request of a load client. Each event carries a mark of its own in `correlationId`. */
export interface LoadRequest {
  path: string;
  key: string | undefined;
  body: string;
  marks: string[];
  /** Whether sending it again can store nothing twice. */
  isRepeatable: boolean;
}

/** A stored event, as an acknowledgement names it. */
export interface Acknowledged {
  mark: string;
  id: string;
  sequence: string;
}

const ORGANIZATIONS = 5;

/** A random request: one event or several, with or without Idempotency-Key, with or without ids of its own. */
export function randomRequest(name: string): LoadRequest {
  const isBulk = randomInt(4) === 0;
  const marks = Array.from(
    { length: isBulk ? randomInt(2, 160) : 1 },
    (_, index) => `${name}.${index}`,
  );
  const hasIds = randomInt(3) === 0;
  const key = randomInt(2) === 0 ? `key ${name}` : undefined;
  const events = marks.map((correlationId) => ({
    ...(hasIds ? { id: randomUUID() } : {}),
    organizationId: `org-${randomInt(ORGANIZATIONS)}`,
    action: 'load',
    status: 'success',
    correlationId,
    metadata: { exact: 12345.678 },
  }));
  return {
    path: `/api/v1/audit/events${isBulk ? '/bulk' : ''}`,
    key,
    body: JSON.stringify(isBulk ? { events } : events[0]),
    marks,
    isRepeatable: hasIds || key !== undefined,
  };
}

/** The events that an answer of 200 or 201 acknowledges. */
export function acknowledgedIn({ marks }: LoadRequest, body: string): Acknowledged[] {
  const answer = JSON.parse(body) as { results?: { id: string; sequence: string }[] };
  const receipts = answer.results ?? [answer as unknown as { id: string; sequence: string }];
  return marks.map((mark, index) => ({
    mark,
    id: receipts[index]?.id ?? '',
    sequence: receipts[index]?.sequence ?? '',
  }));
}

/** Sends requests over kept-alive connections. Never rejects. */
export class LoadSender {
  private readonly agent = new Agent({ keepAlive: true });

  constructor(private readonly token: string) {}

  async send(url: string, { path, key, body }: LoadRequest): Promise<Answer> {
    return new Promise((resolve) => {
      const lost = (error: Error) => resolve({ lost: error });
      const sent = request(
        `${url}${path}`,
        {
          method: 'POST',
          agent: this.agent,
          headers: {
            Authorization: `Bearer ${this.token}`,
            'Content-Type': 'application/json',
            'Content-Length': Buffer.byteLength(body),
            ...(key === undefined ? {} : { 'Idempotency-Key': key }),
          },
        },
        (response) => {
          const parts: Buffer[] = [];
          response.on('data', (part: Buffer) => parts.push(part));
          response.on('error', lost);
          response.on('end', () => {
            if (!response.complete) return lost(new Error('The answer was cut'));
            resolve({
              status: response.statusCode ?? 0,
              body: Buffer.concat(parts).toString(),
              replayed: response.headers['idempotency-replayed'] === 'true',
              retryAfter: response.headers['retry-after'],
            });
          });
        },
      );
      sent.on('error', lost);
      sent.end(body);
    });
  }

  close(): void {
    this.agent.destroy();
  }
}
