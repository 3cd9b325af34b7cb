import type { Client } from 'pg';
import { LoadSender, type LoadRequest } from '../integration/load.fixture';
import { type ServiceProcess, tokenFor } from '../integration/service.fixture';
import { EVENTS, eventWith } from '../support/test-service';
import { ServiceStage } from './service-stage.fixture';
import { SteadyLoad } from './steady-load.fixture';

const HEAP_MB = 128;
/** Just below what a body may have. */
const BODY_BYTES = 9.9 * 1024 * 1024;
const AT_ONCE = 8;

function filled(before: string, unit: string, after: string): string {
  const count = Math.floor((BODY_BYTES - before.length - after.length) / unit.length);
  return `${before}${unit.repeat(count).slice(0, -1)}${after}`;
}

const METADATA = JSON.stringify(eventWith({ metadata: { list: [] } }));
const [BEFORE = '', AFTER = ''] = METADATA.split('[]').map((part, index) =>
  index === 0 ? `${part}[` : `]${part}`,
);

/** Each of the first ones alone ended a process with this heap before its cost was counted. */
const HUGE: [name: string, path: string, body: () => string][] = [
  ['objects', `${EVENTS}/bulk`, () => filled('{"events":[', '{},', ']}')],
  ['numbers', `${EVENTS}/bulk`, () => filled('{"events":[', '0,', ']}')],
  ['objects in metadata', EVENTS, () => filled(BEFORE, '{},', AFTER)],
  ['nesting', EVENTS, () => '['.repeat(BODY_BYTES)],
  [
    'members',
    EVENTS,
    () => `{${Array.from({ length: 700_000 }, (_, index) => `"m${index}":1`).join(',')}}`,
  ],
];

describe(`a service with a heap of ${HEAP_MB} MB`, () => {
  let stage: ServiceStage;
  let admin: Client;
  let service: ServiceProcess;
  let sender: LoadSender;

  beforeAll(async () => {
    stage = await ServiceStage.open();
    ({ admin } = stage);
    service = await stage.start({}, [`--max-old-space-size=${HEAP_MB}`]);
    sender = new LoadSender(await tokenFor());
  }, 120_000);

  afterAll(async () => {
    sender?.close();
    await stage?.close();
  });

  const request = (path: string, body: string, marks: string[] = []): LoadRequest => ({
    path,
    body,
    marks,
    key: undefined,
    isRepeatable: false,
  });

  /** The statuses of as many answers to the same request as are given at once. */
  async function statusesOf(path: string, body: string): Promise<unknown[]> {
    const answers = await Promise.all(
      Array.from({ length: AT_ONCE }, () => sender.send(service.url, request(path, body))),
    );
    return answers.map((answer) => ('lost' in answer ? answer.lost : answer.status));
  }

  it.each(HUGE)(
    'refuses huge requests of %s, many at once, and lives',
    async (_, path, body) => {
      const refused = [400, 413, 503, 504];
      for (const status of await statusesOf(path, body())) expect(refused).toContain(status);
      expect((await fetch(`${service.url}/health/live`)).status).toBe(200);
    },
    60_000,
  );

  it('stores the huge bulk requests that it has room for, sheds the others, and loses nothing', async () => {
    const load = await SteadyLoad.begin(service.url, 'beside', { writers: 2, readers: 1 });
    await Promise.all(
      Array.from({ length: AT_ONCE }, (_, client) => {
        const marks = Array.from({ length: 9000 }, (_, index) => `huge ${client}.${index}`);
        const events = marks.map((correlationId) =>
          eventWith({ correlationId, metadata: { text: 'x'.repeat(900) } }),
        );
        const huge = request(`${EVENTS}/bulk`, JSON.stringify({ events }), marks);
        return load.ledger.settle(sender, huge, () => Promise.resolve(service));
      }),
    );
    await load.progress(10);
    await load.end();
    const { acknowledged, refused } = load.ledger;
    expect(acknowledged.filter(({ mark }) => mark.startsWith('huge')).length).toBeGreaterThan(0);
    expect(refused).toBeGreaterThan(0);
    await load.ledger.check(admin);
    expect(service.unhandled()).toEqual([]);
  }, 90_000);
});
