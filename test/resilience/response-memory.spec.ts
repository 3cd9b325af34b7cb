import { readFile, writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { type ServiceProcess, tokenFor } from '../integration/service.fixture';
import { until } from '../integration/until.fixture';
import { EVENTS, eventWith } from '../support/test-service';
import { ServiceStage } from './service-stage.fixture';

const HEAP_MB = 128;
/** What docs/operations.md promises for this heap. */
const RESIDENT_MB = HEAP_MB + 400;
const MB = 1024 * 1024;
/** Of each kind of request. */
const AT_ONCE = 12;
const EVENT_BYTES = 250_000;
/** 24 MB. */
const LIMIT = 96;
const ALLOWED = [200, 413, 503, 504];
const QUERY = (limit: number): string =>
  `{ optimizedAuditEvents(useCache: false, pagination: { limit: ${limit} }) { edges { node { metadata } } } }`;

describe(`a service with a heap of ${HEAP_MB} MB`, () => {
  let stage: ServiceStage;
  let service: ServiceProcess;
  let authorization: string;
  let nothing: string;

  beforeAll(async () => {
    stage = await ServiceStage.open();
    const env = { REQUEST_TIMEOUT_MS: '15000' };
    service = await stage.start(env, [`--max-old-space-size=${HEAP_MB}`]);
    authorization = `Bearer ${await tokenFor()}`;
    nothing = `Bearer ${await tokenFor({ scopes: [], subject: 'nothing' })}`;
    const metadata = { text: 'x'.repeat(EVENT_BYTES) };
    const events = Array.from({ length: LIMIT / 6 }, () => eventWith({ metadata }));
    for (let written = 0; written <= LIMIT; written += events.length) {
      const answer = await post(`${EVENTS}/bulk`, JSON.stringify({ events }));
      expect(answer.status).toBe(201);
      await answer.body?.cancel();
    }
  }, 180_000);

  afterAll(() => stage?.close());

  const post = (path: string, body: string | Uint8Array, headers = {}): Promise<Response> =>
    fetch(`${service.url}${path}`, {
      method: 'POST',
      body,
      headers: { authorization, 'content-type': 'application/json', ...headers },
    });
  const get = (path: string, headers = {}): Promise<Response> =>
    fetch(`${service.url}${path}`, { headers: { authorization, ...headers } });

  const bomb = gzipSync(Buffer.alloc(10 * MB - 1, ' '));
  const coded = { 'content-encoding': 'gzip' };
  const input = encodeURIComponent(
    JSON.stringify({ pagination: { limit: LIMIT }, useCache: false }),
  );
  const page = (limit: number, offset: number): string =>
    `${EVENTS}?limit=${limit}&offset=${offset}`;

  type Kind = [name: string, ask: (index: number) => Promise<Response>];
  const KINDS: Kind[] = [
    ['compressed bodies', () => post('/graphql', bomb, { ...coded, authorization: nothing })],
    ['pages', (index) => get(page(LIMIT, index % 2))],
    ['pages that fit one at a time', (index) => get(page(40, index))],
    ['pages in gzip', (index) => get(page(30, index), { 'accept-encoding': 'gzip' })],
    ['GraphQL pages', () => post('/graphql', JSON.stringify({ query: QUERY(LIMIT) }))],
    ['small GraphQL pages', () => post('/graphql', JSON.stringify({ query: QUERY(12) }))],
    ['tRPC pages', () => get(`/trpc/performance.getOptimizedAuditEvents?input=${input}`)],
  ];

  async function statusesOf(kinds: Kind[]): Promise<number[]> {
    const asked = kinds.flatMap(([, ask]) =>
      Array.from({ length: AT_ONCE }, (_, index) => ask(index)),
    );
    return Promise.all(
      asked.map(async (answering) => {
        const answer = await answering;
        for await (const part of answer.body ?? []) void part;
        return answer.status;
      }),
    );
  }

  /** The most memory that the process has had since the last call, in MB; undefined where nobody tells. */
  async function peak(): Promise<number | undefined> {
    if (process.platform !== 'linux') return undefined;
    const status = await readFile(`/proc/${service.pid}/status`, 'utf8');
    const most = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
    await writeFile(`/proc/${service.pid}/clear_refs`, '5').catch(() => undefined);
    return most;
  }

  it.each([...KINDS.map((kind): [string, Kind[]] => [kind[0], [kind]]), ['all of them', KINDS]])(
    `answers or refuses ${AT_ONCE} at once of %s, lives, and stays within ${RESIDENT_MB} MB`,
    async (_, kinds) => {
      for (const status of await statusesOf(kinds)) expect([400, ...ALLOWED]).toContain(status);
      expect((await peak()) ?? 0).toBeLessThan(RESIDENT_MB);
      const usual = await get(`${EVENTS}?limit=1`);
      expect(usual.status).toBe(200);
      await usual.body?.cancel();
      expect(service.unhandled()).toEqual([]);
    },
    120_000,
  );

  it('gives back all of the memory that it had reserved', async () => {
    await until(async () => {
      const answer = await get('/metrics');
      return /^audit_response_memory_reserved_bytes 0$/m.test(await answer.text());
    });
  });
});
