import type { Client } from 'pg';
import { type LoadRequest, LoadSender } from '../integration/load.fixture';
import { type ServiceProcess, tokenFor } from '../integration/service.fixture';
import { EVENTS, eventWith } from '../support/test-service';
import {
  BULK_PROTOCOLS,
  type BulkProtocol,
  GRAPHQL,
  inRest,
  TRPC_BULK,
} from './bulk-protocols.fixture';
import { ServiceStage } from './service-stage.fixture';
import { SteadyLoad } from './steady-load.fixture';

const HEAP_MB = 128;
/** Just below what a body may have. */
const BODY_BYTES = 9.9 * 1024 * 1024;
const AT_ONCE = 8;
/** A number that a double would change. */
const LONG = '9223372036854775807';

function filled(before: string, unit: string, after: string): string {
  const count = Math.floor((BODY_BYTES - before.length - after.length) / unit.length);
  return `${before}${unit.repeat(count).slice(0, -1)}${after}`;
}

/** The text with as many of these elements as fit in its list, which is empty. */
function filledList(text: string, element: string): string {
  const [before = '', after = ''] = text.split('[]');
  return filled(`${before}[`, `${element},`, `]${after}`);
}

function members(name: (index: number) => string, value: number | object): string {
  const all = Array.from({ length: 700_000 }, (_, index) => [name(index), value]);
  return JSON.stringify(Object.fromEntries(all));
}

const METADATA = JSON.stringify(eventWith({ metadata: { list: [] } }));

/** As many of a number in metadata as are not refused for their number. */
function exactNumbers(body: BulkProtocol['body'], number: string, count: number): string {
  const list = new Array<string>(count).fill(number).join(',');
  return body(`[${METADATA}]`).replace('[]', `[${list}]`);
}

type Huge = [name: string, path: string, body: () => string];

const hugeTo = ({ name, path, body }: BulkProtocol): Huge[] => [
  [`objects to ${name}`, path, () => filledList(body('[]'), '{}')],
  [`numbers to ${name}`, path, () => filledList(body('[]'), '0')],
  [`objects in metadata to ${name}`, path, () => filledList(body(`[${METADATA}]`), '{}')],
  [`long numbers in metadata to ${name}`, path, () => filledList(body(`[${METADATA}]`), LONG)],
  [`short exact numbers to ${name}`, path, () => exactNumbers(body, '1.0', 480_000)],
  [`exact numbers to ${name}`, path, () => exactNumbers(body, '1234567890123456.0', 400_000)],
  [`nesting to ${name}`, path, () => '['.repeat(BODY_BYTES)],
  [`members to ${name}`, path, () => members((index) => `m${index}`, 1)],
];

/** Through each protocol some of these end a process with this heap when the cost of bodies is not counted. */
const HUGE: Huge[] = [
  ...BULK_PROTOCOLS.flatMap(hugeTo),
  ['objects in metadata of one event', EVENTS, () => filledList(METADATA, '{}')],
  ['fields in a GraphQL document', GRAPHQL, () => filled('{"query":"{', 'id ', ' }"}')],
  ['nesting in a GraphQL document', GRAPHQL, () => filled('{"query":"', '{a ', ' "}')],
  [
    'text in a GraphQL document',
    GRAPHQL,
    () => filled('{"query":"{ auditEvent(id: \\"', 'x', '\\") { id } }"}'),
  ],
  ['calls in a tRPC batch', `${TRPC_BULK}?batch=1`, () => members(String, {})],
];

describe(`a service with a heap of ${HEAP_MB} MB`, () => {
  let stage: ServiceStage;
  let admin: Client;
  let service: ServiceProcess;
  let sender: LoadSender;
  /** The same, whose answers are in the words of REST. */
  let restSender: Pick<LoadSender, 'send'>;

  beforeAll(async () => {
    stage = await ServiceStage.open();
    ({ admin } = stage);
    service = await stage.start({}, [`--max-old-space-size=${HEAP_MB}`]);
    sender = new LoadSender(await tokenFor());
    restSender = inRest(sender);
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
      Array.from({ length: AT_ONCE }, () => restSender.send(service.url, request(path, body))),
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

  it.each(BULK_PROTOCOLS)(
    'stores the huge bulk requests to $name that it has room for, sheds the others, and loses nothing',
    async ({ name, path, body }) => {
      const load = await SteadyLoad.begin(service.url, `beside ${name}`, {
        writers: 2,
        readers: 1,
      });
      await Promise.all(
        Array.from({ length: AT_ONCE }, (_, client) => {
          const marks = Array.from({ length: 9000 }, (_, index) => `${name} ${client}.${index}`);
          const events = marks.map((correlationId) =>
            eventWith({ correlationId, metadata: { text: 'x'.repeat(900) } }),
          );
          const huge = request(path, body(JSON.stringify(events)), marks);
          return load.ledger.settle(restSender, huge, () => Promise.resolve(service));
        }),
      );
      await load.progress(10);
      await load.end();
      const { acknowledged, refused } = load.ledger;
      expect(acknowledged.filter(({ mark }) => mark.startsWith(name)).length).toBeGreaterThan(0);
      expect(refused).toBeGreaterThan(0);
      await load.ledger.check(admin);
      expect(service.unhandled()).toEqual([]);
    },
    90_000,
  );
});
