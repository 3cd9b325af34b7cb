import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { until } from '../integration/until.fixture';
import { expectProblem, pathsOf } from '../support/problem';
import { EVENTS, eventWith, requestOf, TestService, tokenOf } from '../support/test-service';

const PROFILES = '/api/v1/performance/profiles';
const SECRET = 'NobodyMayReadThis';

interface CpuProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string }; children?: number[] }[];
  startTime: number;
  endTime: number;
  samples: number[];
  timeDeltas: number[];
}

interface HeapNode {
  id: number;
  selfSize: number;
  callFrame: { functionName: string; url: string };
  children: HeapNode[];
}

describe('a profile on demand', () => {
  let service: TestService;
  let manager: string;
  let writer: string;
  let isLoaded = false;
  let load: Promise<unknown> = Promise.resolve();

  beforeAll(async () => {
    service = await TestService.start();
    manager = await tokenOf({ scope: 'performance:manage' });
    writer = await tokenOf({ sub: SECRET });
    isLoaded = true;
    load = Promise.all(Array.from({ length: 4 }, () => writeAndRead()));
  });

  afterAll(async () => {
    isLoaded = false;
    await load;
    await service?.stop();
  });

  /** Events, searches and idempotency keys that hold SECRET. */
  async function writeAndRead(): Promise<void> {
    while (isLoaded) {
      const event = eventWith({ action: SECRET, metadata: { [SECRET]: SECRET } });
      await service.post(EVENTS, writer, event, { 'idempotency-key': `${SECRET}${Math.random()}` });
      await service.post(`${EVENTS}/bulk`, writer, { events: [event, event] });
      await service.get(`${EVENTS}?action=${SECRET}&limit=3`, writer);
      await service.post('/graphql', writer, {
        query: `query ${SECRET} { auditEvents(filter: { action: "${SECRET}" }) { data { id } } }`,
      });
    }
  }

  /** A profile that has begun. The client may leave before its end. */
  async function begin(body: object): Promise<{ sent: ClientRequest; answer: IncomingMessage }> {
    const sent = request(`${service.url}${PROFILES}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${manager}`, 'content-type': 'application/json' },
    });
    sent.on('error', () => undefined); // by the client's own leaving
    sent.end(JSON.stringify(body));
    const [answer] = (await once(sent, 'response')) as [IncomingMessage];
    return { sent, answer };
  }

  it('of the processor opens in Chrome, and names what the load runs', async () => {
    const body = { type: 'cpu', seconds: 2 };
    const missing = [/^src\/http\//, /^src\/audit\/(write|read)\//, /^node_modules\/pg\//];
    // Samples are taken while this process has the processor, which others use as well.
    for (let place = missing.at(-1); place; place = missing.at(-1)) {
      const { status, headers, text: file, json } = await service.post(PROFILES, manager, body);
      expect(status).toBe(200);
      expect(headers.get('content-type')).toBe('application/json; charset=utf-8');
      expect(headers.get('cache-control')).toBe('no-store');
      expect(headers.get('content-disposition')).toMatch(
        /^attachment; filename="audit-server_cpu_\d{8}T\d{6}Z_[\w.-]+_\d+\.cpuprofile"$/,
      );
      const profile = json as CpuProfile;
      expectCpuProfile(profile);
      // Node's timers and the clock of the profile differ by up to a millisecond.
      expect(profile.endTime - profile.startTime).toBeGreaterThan(body.seconds * 1e6 - 10_000);
      expectNoSecret(file);
      const frames = profile.nodes.map(({ callFrame }) => callFrame);
      const isNamed = (at: RegExp) =>
        frames.some(({ url, functionName }) => at.test(url) && /^\w+$/.test(functionName));
      while (place && isNamed(place)) {
        missing.pop();
        place = missing.at(-1);
      }
    }
    expect(missing).toEqual([]);
  });

  it.each(['heap', 'allocations'])('of %s opens in Chrome', async (type) => {
    const answer = await service.post(PROFILES, manager, { type, seconds: 1 });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-disposition')).toMatch(
      new RegExp(`filename="audit-server_${type}_[^"]+\\.heapprofile"$`),
    );
    const { head, samples } = answer.json as {
      head: HeapNode;
      samples: { size: number; nodeId: number; ordinal: number }[];
    };
    const nodes = nodesUnder(head);
    const ids = new Set(nodes.map(({ id }) => id));
    expect(head.callFrame.functionName).toBe('(root)');
    expect(ids.size).toBe(nodes.length);
    expect(samples.length).toBeGreaterThan(0);
    // V8 leaves out nodes of which nothing is left, and not their samples.
    expect(samples.every(({ size }) => size > 0)).toBe(true);
    expect(samples.some(({ nodeId }) => ids.has(nodeId))).toBe(true);
    expect(nodes.some(({ selfSize }) => selfSize > 0)).toBe(true);
    expect(nodes.some(({ callFrame }) => callFrame.url.startsWith('src/'))).toBe(true);
    expectNoSecret(answer.text);
  });

  it('has in `allocations` more than what is left at the end, which `heap` has', async () => {
    const sizes: number[] = [];
    for (const type of ['heap', 'allocations']) {
      const { json } = await service.post(PROFILES, manager, { type, seconds: 1 });
      const nodes = nodesUnder(json.head as HeapNode);
      sizes.push(nodes.reduce((sum, { selfSize }) => sum + selfSize, 0));
    }
    const [left = 0, allocated = 0] = sizes;
    expect(allocated).toBeGreaterThan(left);
  });

  it('is one at a time: another one is told when to come back, and may once the client has left', async () => {
    const seconds = 50;
    const { sent, answer } = await begin({ type: 'cpu', seconds });
    expect(answer.statusCode).toBe(200);
    const refused = await service.post(PROFILES, manager, { type: 'cpu', seconds: 1 });
    expectProblem(refused, 409, 'CONFLICT');
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(2);
    expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(seconds);
    sent.destroy();
    await until(async () => {
      const { status } = await service.post(PROFILES, manager, { type: 'heap', seconds: 1 });
      return status === 200;
    });
    expect((await service.get(EVENTS, writer)).status).toBe(200);
  });

  it.each([
    ['type', {}],
    ['type', { type: 'snapshot' }],
    ['type', { type: ['cpu'] }],
    ['seconds', { type: 'cpu', seconds: 0 }],
    ['seconds', { type: 'cpu', seconds: 51 }],
    ['seconds', { type: 'cpu', seconds: 1.5 }],
    ['seconds', { type: 'cpu', seconds: '10' }],
    ['interval', { type: 'cpu', interval: 1 }],
  ])('is refused with the place of the fault: %s', async (path, body) => {
    const answer = await service.post(PROFILES, manager, body);
    expectProblem(answer, 400, 'VALIDATION_FAILED');
    expect(pathsOf(answer)).toEqual([path]);
  });

  it('needs performance:manage', async () => {
    const body = { type: 'cpu', seconds: 1 };
    expectProblem(await service.request('POST', PROFILES, { body }), 401, 'UNAUTHENTICATED');
    for (const scope of ['performance:read', 'audit:read audit:write audit:export']) {
      const answer = await service.post(PROFILES, await tokenOf({ scope }), body);
      expectProblem(answer, 403, 'FORBIDDEN');
    }
  });

  it('is no slow request: the time is the one that was asked for', async () => {
    const series = `audit_http_request_duration_seconds_sum{method="POST",route="${PROFILES}"}`;
    const spentSeconds = async () => {
      const { text: metrics } = await service.get('/metrics');
      const line = metrics.split('\n').find((one) => one.startsWith(series));
      return Number(line?.split(' ').at(-1));
    };
    const before = await spentSeconds();
    const seconds = 5;
    await service.post(PROFILES, manager, { type: 'heap', seconds });
    expect((await spentSeconds()) - before).toBeLessThan(seconds);
  });
});

describe('a profile during a shutdown', () => {
  it('ends with what it has', async () => {
    const service = await TestService.start();
    const manager = await tokenOf({ scope: 'performance:manage' });
    const sent = request(`${service.url}${PROFILES}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${manager}`, 'content-type': 'application/json' },
    });
    sent.end('{"type":"cpu","seconds":50}');
    const [answer] = (await once(sent, 'response')) as [IncomingMessage];
    const [file] = await Promise.all([text(answer), service.stop()]);
    expectCpuProfile(JSON.parse(file) as CpuProfile);
    await expect(requestOf(service.url, 'GET', '/health/live')).rejects.toThrow();
  });
});

/** What Chrome relies on: one tree, samples that name its nodes, and a time for each. */
function expectCpuProfile({ nodes, startTime, endTime, samples, timeDeltas }: CpuProfile): void {
  const ids = new Set(nodes.map(({ id }) => id));
  const children = nodes.flatMap((node) => node.children ?? []);
  const roots = nodes.filter(({ id }) => !children.includes(id));
  expect(ids.size).toBe(nodes.length);
  expect(new Set(children).size).toBe(children.length);
  expect(children.every((id) => ids.has(id))).toBe(true);
  expect(roots.map(({ callFrame }) => callFrame.functionName)).toEqual(['(root)']);
  expect(samples.length).toBeGreaterThan(0);
  expect(samples.every((id) => ids.has(id))).toBe(true);
  expect(timeDeltas).toHaveLength(samples.length);
  expect(endTime).toBeGreaterThan(startTime);
}

function nodesUnder(node: HeapNode): HeapNode[] {
  return [node, ...node.children.flatMap(nodesUnder)];
}

function expectNoSecret(file: string): void {
  expect(file).not.toContain(SECRET);
  expect(file).not.toMatch(/eyJ|Bearer|INSERT INTO|SELECT /);
  expect(file).not.toContain(process.cwd());
}
