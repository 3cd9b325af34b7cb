import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { startTestRedis, type TestRedis } from '../support/redis-server';
import { ticketFor } from '../support/tickets';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import {
  type Build,
  buildService,
  type ServiceProcess,
  startServiceProcess,
  tokenFor,
} from './service.fixture';
import { until } from './until.fixture';

interface Attribute {
  key: string;
  value: { stringValue?: string; intValue?: number };
}

interface SpanJson {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  attributes: Attribute[];
}

interface TracesJson {
  resourceSpans: {
    resource: { attributes: Attribute[] };
    scopeSpans: { scope: { name: string }; spans: SpanJson[] }[];
  }[];
}

const TRACE_ID = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';
const EVENTS = '/api/v1/audit/events';

describe('tracing', () => {
  const received: string[] = [];
  const receiver: Server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      received.push(`${request.url}\n${String(request.headers['x-api-key'])}\n${body}`);
      response.setHeader('Content-Type', 'application/json');
      response.end('{}');
    });
  });
  let build: Build;
  let database: TestDatabase;
  let redis: TestRedis | undefined;
  let service: ServiceProcess | undefined;
  let token: string;
  let ticket: string;

  beforeAll(async () => {
    receiver.listen(0, '127.0.0.1');
    await once(receiver, 'listening');
    const { port } = receiver.address() as AddressInfo;
    [build, database, redis, token] = await Promise.all([
      buildService(),
      createTestDatabase(),
      startTestRedis(),
      tokenFor(),
    ]);
    service = await startServiceProcess(build, database.url, {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}/`,
      OTEL_EXPORTER_OTLP_HEADERS: 'x-api-key=key%20of%20the%20receiver',
      OTEL_BSP_SCHEDULE_DELAY: '100',
      SLOW_REQUEST_THRESHOLD_MS: '1', // so that the requests are slow
      ...(redis ? { REDIS_URL: redis.url } : {}),
    });
  }, 120_000);

  afterAll(async () => {
    await service?.end('SIGTERM');
    await redis?.stop();
    await database?.drop();
    await build?.remove();
    receiver.close();
    receiver.closeAllConnections();
  });

  const traces = () =>
    received.map((text) => JSON.parse(text.slice(text.indexOf('{'))) as TracesJson);
  const spansBy = (library: string) =>
    traces().flatMap(({ resourceSpans }) =>
      resourceSpans.flatMap(({ scopeSpans }) =>
        scopeSpans.flatMap(({ scope, spans }) => (scope.name.endsWith(library) ? spans : [])),
      ),
    );

  it('sends spans of fast routes and others, of PostgreSQL and of Redis, in the trace of the caller', async () => {
    const headers = {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      traceparent: `00-${TRACE_ID}-${PARENT}-01`,
    };
    ticket = await ticketFor(service?.url ?? '', token);
    const event = { organizationId: 'org-of-nobody', action: 'secret.action', status: 'success' };
    for (let round = 0; round < 3; round += 1) {
      await fetch(`${service?.url}${EVENTS}`, {
        method: 'POST',
        headers,
        body: JSON.stringify(event),
      });
      await fetch(`${service?.url}${EVENTS}?principal_ids=whom-is-asked-for`, { headers });
      await fetch(`${service?.url}${EVENTS}/0198c1f2-3e4a-7000-8000-123456789012`, { headers });
      await fetch(`${service?.url}/api/v1/performance/cache/stats`, { headers });
    }
    for (const path of [EVENTS, `${EVENTS}/tail`, `${EVENTS}/tail`]) {
      const answer = await fetch(`${service?.url}${path}?ticket=${ticket}`);
      await answer.body?.cancel();
    }
    const isOurs = ({ traceId }: SpanJson) => traceId === TRACE_ID;
    await until(() => spansBy('instrumentation-http').filter(isOurs).length >= 12);
    await until(() => spansBy('instrumentation-pg').some(isOurs));
    const http = spansBy('instrumentation-http').filter(isOurs);
    expect(new Set(http.map(({ name }) => name))).toEqual(
      new Set([
        `POST ${EVENTS}`,
        `GET ${EVENTS}`,
        `GET ${EVENTS}/:id`,
        'GET /api/v1/performance/cache/stats',
      ]),
    );
    expect(http.every(({ parentSpanId }) => parentSpanId === PARENT)).toBe(true);
    if (redis) await until(() => spansBy('instrumentation-redis').some(isOurs));
    const [text = ''] = received;
    expect(text).toMatch(/^\/v1\/traces\nkey of the receiver\n/);
    expect(text).toContain('"service.name"');
  });

  it('tells where the time of slow requests went', () => {
    const times = spansBy('instrumentation-http').map(({ attributes }) =>
      attributes.filter(({ key }) => key.startsWith('audit.time.')),
    );
    const names = new Set(times.flat().map(({ key }) => key));
    expect([...names]).toEqual(
      expect.arrayContaining(['audit.time.app', 'audit.time.sql', 'audit.time.socket']),
    );
    expect(times.flat().every(({ value }) => Object.keys(value).length === 1)).toBe(true);
    expect(JSON.stringify(times)).not.toContain('stringValue');
  });

  it('sends no text of requests or events', async () => {
    await until(() => spansBy('instrumentation-http').some(({ name }) => name.endsWith('/tail')));
    const all = received.join('\n');
    expect(all.length).toBeGreaterThan(1000);
    for (const secret of [
      token,
      ticket,
      'org-of-nobody',
      'secret.action',
      'whom-is-asked-for',
      '0198c1f2',
    ]) {
      expect(all.includes(secret)).toBe(false);
    }
  });

  it('sends its last spans before the process ends', async () => {
    await fetch(`${service?.url}/health/live`);
    const before = spansBy('instrumentation-http').length;
    await service?.end('SIGTERM');
    service = undefined;
    expect(spansBy('instrumentation-http').length).toBeGreaterThan(before);
  });
});
