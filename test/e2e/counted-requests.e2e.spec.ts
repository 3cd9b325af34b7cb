import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { MetricRegistry } from '../../src/metrics/metrics.registry';
import { PerformanceReport } from '../../src/metrics/performance.report';
import { until } from '../integration/until.fixture';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const ROUNDS = 40;
const WORKERS = 8;

describe('of a load through all protocols', () => {
  let service: TestService;
  let token: string;
  let sent = 0;

  beforeAll(async () => {
    // One principal has half of the places of exports, and each worker one export at a time.
    service = await TestService.start({ STREAMING_MAX_CONCURRENT: String(4 * WORKERS) });
    token = await tokenOf({ scope: 'audit:read audit:write audit:export' });
  });

  afterAll(() => service?.stop());

  async function ask(method: string, path: string, wanted: number, body?: unknown, as = token) {
    sent += 1;
    const { status } = await service.request(method, path, { token: as, body });
    expect([method, path, status]).toEqual([method, path, wanted]);
  }

  /** Sends a whole request (or some, one behind the other) and hangs up after a while, answered or not. */
  async function leave(afterMs: number, requests: string[]): Promise<void> {
    sent += requests.length;
    const socket = connect(service.port, '127.0.0.1');
    socket.on('error', () => undefined).resume();
    const head = `Host: localhost\r\nAuthorization: Bearer ${token}\r\n\r\n`;
    await new Promise<unknown>((resolve) =>
      socket.write(requests.map((line) => `${line} HTTP/1.1\r\n${head}`).join(''), resolve),
    );
    await sleep(afterMs);
    socket.destroy();
  }

  async function round(number: number): Promise<void> {
    const id = `0198c1f2-3e4a-7000-8000-${String(number).padStart(12, '0')}`;
    const query = `{ optimizedAuditEvents(pagination: { limit: ${number + 1} }) { totalCount } }`;
    const input = encodeURIComponent(JSON.stringify({ pagination: { limit: number + 1 } }));
    const page = `/trpc/performance.getOptimizedAuditEvents`;
    await ask('POST', EVENTS, 201, eventWith());
    await ask('POST', `${EVENTS}/bulk`, 201, { events: [eventWith(), eventWith()] });
    await ask('GET', EVENTS, 200);
    await ask('GET', `${EVENTS}?offset=${number}`, 200);
    await ask('HEAD', EVENTS, 200);
    await ask('GET', `${EVENTS}/stream?format=ndjson`, 200);
    await ask('GET', `${EVENTS}/${id}`, 404);
    await ask('GET', `${EVENTS}?limit=0`, 400);
    await ask('GET', EVENTS, 401, undefined, 'no token');
    await ask('GET', '/api/v1/performance/metrics', 403);
    await ask('POST', EVENTS, 400, '{"organizationId":');
    await ask('POST', `${EVENTS}/bulk`, 400, '[1,');
    await ask('DELETE', EVENTS, 405);
    await ask('GET', `/nowhere/${number}`, 404);
    await ask('GET', '/health/live', 200);
    await ask('POST', '/graphql', 200, { query });
    await ask('POST', '/graphql', 200, { query: '{ nothing }' });
    await ask('GET', `${page}?input=${input}`, 200);
    await ask('GET', `${page}?input=${encodeURIComponent('{"pagination":{"limit":0}}')}`, 400);
    await ask('GET', `${page},${page.slice(6)}?batch=1&input=%7B%7D`, 200);
    await leave(number % 5, [`GET ${EVENTS}?limit=${number + 1}&include_total=true`]);
    await leave(number % 3, [`GET ${EVENTS}`, `GET /nowhere`, `GET ${EVENTS}/${id}`]);
  }

  it('every request is counted once, in every figure, however it ended', async () => {
    const rounds = Array.from({ length: ROUNDS }, (_, number) => number);
    const work = async () => {
      for (let next = rounds.pop(); next !== undefined; next = rounds.pop()) await round(next);
    };
    await Promise.all(Array.from({ length: WORKERS }, work));
    let text = '';
    const sumOf = (series: string) =>
      [...text.matchAll(new RegExp(`^${series}\\{.*\\} (\\d+)$`, 'gm'))]
        .map(([, value]) => Number(value))
        .reduce((sum, value) => sum + value, 0);
    // Those that were left are over a little later.
    await until(async () => {
      ({ text } = await service.provider(MetricRegistry).text());
      return (
        sumOf('audit_http_requests_total') >= sent &&
        /^audit_http_requests_in_flight 0$/m.test(text)
      );
    });
    expect(sumOf('audit_http_requests_total')).toBe(sent);
    expect(sumOf('audit_http_request_duration_seconds_count')).toBe(sent);
    const { window, lastHour } = service.provider(PerformanceReport).metrics();
    expect({ lastHour: lastHour.requests, window: window.requests }).toEqual({
      lastHour: sent,
      window: sent,
    });
    expect(text).toMatch(/^audit_http_requests_total\{.*status="499"\} [1-9]/m);
  });
});
