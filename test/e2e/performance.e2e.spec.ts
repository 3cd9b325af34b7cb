import { rawRequest } from '../support/raw-http';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const METRICS = '/api/v1/performance/metrics';
const HEALTH = '/api/v1/performance/health';
const ALERTS = '/api/v1/performance/alerts';

/** The value of a series in Prometheus' text; NaN when it is not there. */
function valueOf(text: string, series: string): number {
  const line = text.split('\n').find((one) => one.startsWith(`${series} `));
  return Number(line?.slice(series.length + 1) ?? NaN);
}

describe('the performance report', () => {
  let service: TestService;
  let operator: string;
  let reader: string;

  beforeAll(async () => {
    service = await TestService.start();
    operator = await tokenOf({ scope: 'performance:read' });
    reader = await tokenOf();
  });

  afterAll(() => service?.stop());

  it('says that a fresh process is healthy, with nothing to complain about', async () => {
    const { status, json } = await service.get(HEALTH, operator);
    expect(status).toBe(200);
    expect(json).toEqual({
      status: 'healthy',
      details: {
        cache: { status: 'healthy', hitRatio: 0 },
        concurrency: { status: 'healthy', utilization: expect.any(Number) },
        memory: { status: 'healthy', usage: expect.any(Number) },
      },
      recommendations: [],
    });
    expect((await service.get(ALERTS, operator)).json).toEqual([]);
  });

  it.each([METRICS, HEALTH, ALERTS])('wants performance:read for %s', async (path) => {
    expect((await service.get(path)).status).toBe(401);
    expect((await service.get(path, reader)).status).toBe(403);
    expect((await service.get(path, operator)).status).toBe(200);
  });

  it('refuses filters of alerts that it does not know', async () => {
    for (const query of ['severity=high', 'state=open', 'type=HIGH_MEMORY']) {
      expect((await service.get(`${ALERTS}?${query}`, operator)).status).toBe(400);
    }
    expect((await service.get(`${ALERTS}?severity=HIGH&state=active`, operator)).json).toEqual([]);
  });

  it('counts the requests of fast routes, of express and of unknown paths', async () => {
    const before = (await service.get('/metrics')).text;
    const page =
      'audit_http_requests_total{method="GET",route="/api/v1/audit/events",status="200"}';
    const one =
      'audit_http_requests_total{method="GET",route="/api/v1/audit/events/:id",status="404"}';
    const create =
      'audit_http_requests_total{method="POST",route="/api/v1/audit/events",status="201"}';
    const bulk =
      'audit_http_requests_total{method="POST",route="/api/v1/audit/events/bulk",status="201"}';
    const lost = 'audit_http_requests_total{method="GET",route="unmatched",status="404"}';
    const at = (text: string, series: string) => valueOf(text, series) || 0;
    const { json: start } = await service.get(METRICS, operator);
    for (let round = 0; round < 25; round += 1) {
      await service.post(EVENTS, reader, eventWith());
      await service.post(`${EVENTS}/bulk`, reader, { events: [eventWith()] });
      await service.get(EVENTS, reader);
      await service.get(`${EVENTS}?limit=${round + 1}`, reader);
      await service.get(`${EVENTS}/0198c1f2-3e4a-7000-8000-1234567890${10 + round}`, reader);
      await service.get(`/nowhere/${round}`);
    }
    const after = (await service.get('/metrics')).text;
    const { json: end } = await service.get(METRICS, operator);
    expect(at(after, create) - at(before, create)).toBe(25);
    expect(at(after, bulk) - at(before, bulk)).toBe(25);
    expect(at(after, page) - at(before, page)).toBe(50);
    expect(at(after, one) - at(before, one)).toBe(25);
    expect(at(after, lost) - at(before, lost)).toBe(25);
    // Between the two: those, the first look at the metrics, and the scrape.
    expect(end.window.requests - start.window.requests).toBe(152);
    expect(end.requestsPerSecond).toBeCloseTo(end.window.requests / end.window.seconds, 0);
    expect(end.percentiles.p50).toBeGreaterThan(0);
    expect(end.percentiles.p99).toBeGreaterThanOrEqual(end.percentiles.p95);
    // A process that is younger than a minute has the same in both.
    expect(end.lastHour).toMatchObject({
      requests: end.window.requests,
      averageResponseTime: end.averageResponseTime,
      percentiles: end.percentiles,
    });
  });

  it('has as many labels after a flood of different paths, ids and methods as before', async () => {
    const seriesIn = (text: string) =>
      text.split('\n').filter((line) => /^audit_http_/.test(line)).length;
    const flood = async (round: number) => {
      await service.get(`/api/v1/${round}/${round}`, reader);
      await service.get(`${EVENTS}/${round}?a=${round}`, reader);
      await rawRequest(service.port, 'PROPFIND', `/x${round}`, {});
      await rawRequest(service.port, 'SEARCH', `/x${round}`, {});
    };
    await flood(0);
    const before = seriesIn((await service.get('/metrics')).text);
    for (let round = 1; round <= 50; round += 1) await flood(round);
    const { text } = await service.get('/metrics');
    expect(seriesIn(text)).toBe(before);
    expect(text).not.toMatch(/PROPFIND|x17/);
  });

  it('distinguishes exports from single events, which share a path prefix', async () => {
    const exporter = await tokenOf({ scope: 'audit:read audit:export' });
    for (let round = 0; round < 2; round += 1) {
      expect((await service.get(`${EVENTS}/stream?format=ndjson`, exporter)).status).toBe(200);
    }
    const { text } = await service.get('/metrics');
    expect(
      valueOf(
        text,
        'audit_http_requests_total{method="GET",route="/api/v1/audit/events/stream",status="200"}',
      ),
    ).toBe(2);
    expect(valueOf(text, 'audit_exports_total{outcome="completed"}')).toBe(2);
  });

  it('shows every member of the contract', async () => {
    const { json, headers } = await service.get(METRICS, operator);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(json).toEqual({
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      window: { seconds: expect.any(Number), requests: expect.any(Number) },
      requestsPerSecond: expect.any(Number),
      averageResponseTime: expect.any(Number),
      percentiles: {
        p50: expect.any(Number),
        p95: expect.any(Number),
        p99: expect.any(Number),
      },
      lastHour: {
        seconds: expect.any(Number),
        requests: expect.any(Number),
        requestsPerSecond: expect.any(Number),
        averageResponseTime: expect.any(Number),
        percentiles: {
          p50: expect.any(Number),
          p95: expect.any(Number),
          p99: expect.any(Number),
        },
      },
      memoryUsage: {
        used: expect.any(Number),
        total: expect.any(Number),
        percentage: expect.any(Number),
      },
      cacheStats: {
        hitRatio: expect.any(Number),
        totalRequests: expect.any(Number),
        totalHits: expect.any(Number),
        totalMisses: expect.any(Number),
      },
      concurrency: {
        activeRequests: expect.any(Number),
        queuedRequests: expect.any(Number),
        maxConcurrentRequests: expect.any(Number),
      },
      eventLoopDelay: { p50: expect.any(Number), p99: expect.any(Number) },
      slowRequests: {
        count: expect.any(Number),
        averageTime: expect.any(Number),
        slowestEndpoints: expect.any(Array),
      },
    });
    expect(json.cacheStats.totalRequests).toBeGreaterThan(0);
    expect(json.memoryUsage.used).toBeLessThan(json.memoryUsage.total);
    const { percentage, used, total } = json.memoryUsage;
    expect(percentage).toBeCloseTo((100 * used) / total, 0);
  });

  it('serves Prometheus without a token', async () => {
    const { status, headers, text } = await service.get('/metrics');
    expect(status).toBe(200);
    expect(headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(text).toMatch(/^process_cpu_seconds_total \d/m);
    expect(text).toMatch(/^nodejs_eventloop_lag_seconds \d/m);
    expect(valueOf(text, 'audit_database_pool_max_connections')).toBe(10);
  });
});
