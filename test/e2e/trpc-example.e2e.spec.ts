import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import {
  all,
  auditClient,
  follow,
  kindOf,
  pages,
  record,
  type AuditClient,
} from '../../docs/trpc-client';
import { until } from '../integration/until.fixture';
import { BreakablePath } from '../support/breakable-path';
import { TestService, tokenOf } from '../support/test-service';

describe('the client in docs/trpc-client.ts', () => {
  let service: TestService;
  let client: AuditClient;
  let token: string;
  let organization: string;

  beforeAll(async () => {
    service = await TestService.start();
  });
  afterAll(() => service.stop());
  beforeEach(async () => {
    organization = `org-${randomUUID()}`;
    token = await tokenOf({
      organizations: [organization],
      scope: 'audit:read audit:write audit:export',
    });
    client = auditClient(service.url, () => token);
  });

  const events = (count: number, action = 'example') =>
    Array.from({ length: count }, (_, index) => ({
      organizationId: organization,
      action,
      status: 'success' as const,
      metadata: { index },
    }));

  it('records, and reads it page by page and all at once', async () => {
    const { created, results } = await record(client, events(5));
    await record(client, events(1, 'other'));
    expect(created).toBe(5);
    const ids = results.map(({ id }) => id);
    const sizes: number[] = [];
    const seen: string[] = [];
    for await (const page of pages(client, { actions: ['example'] }, 2)) {
      sizes.push(page.length);
      seen.push(...page.map(({ id }) => id));
    }
    expect(sizes).toEqual([2, 2, 1]);
    expect([...seen].sort()).toEqual([...ids].sort());
    const streamed: string[] = [];
    for await (const { id } of all(client, { actions: ['example'] })) streamed.push(id);
    expect(streamed).toEqual(ids);
  });

  it('stores nothing twice when a response is lost', async () => {
    let answers = 0;
    const stored = async (): Promise<number> => {
      const { pagination } = await client.performance.getOptimizedAuditEvents.query();
      return pagination.total ?? 0;
    };
    const lossy = createServer((socket) => {
      const upstream = connect(service.port, '127.0.0.1');
      socket.on('error', () => upstream.destroy()).pipe(upstream);
      upstream.on('data', (chunk) => {
        if ((answers += 1) > 1) return void socket.write(chunk);
        // An answer begins before its procedures are done, and a request that is left before that stores nothing.
        upstream.pause();
        const lose = () => socket.destroy();
        until(async () => (await stored()) === 3).then(lose, lose);
      });
      upstream.on('error', () => socket.destroy()).once('end', () => socket.end());
      socket.once('close', () => upstream.destroy());
    });
    await once(lossy.listen(0, '127.0.0.1'), 'listening');
    const { port } = lossy.address() as AddressInfo;
    const own = auditClient(`http://127.0.0.1:${port}`, () => token);
    expect(await record(own, events(3))).toMatchObject({ created: 0, duplicates: 3 });
    expect(await stored()).toBe(3);
    lossy.close();
  });

  it('follows through broken connections, and goes on where an earlier run has stopped', async () => {
    const way = new BreakablePath(service.port);
    const own = auditClient(await way.open(), () => token);
    const told: string[] = [];
    const failures: unknown[] = [];
    let last: string | undefined;
    const start = () =>
      follow(
        own,
        {},
        {
          after: last,
          onEvent: ({ sequence }, id) => {
            told.push(sequence);
            last = id;
          },
          onError: (error) => failures.push(error),
        },
      );
    const stop = start();
    // Until the first is told of, the feed may not have begun: what is recorded before is not part of it.
    await until(async () => {
      await record(client, events(1));
      return told.length > 0;
    });
    await until(async () => {
      const { data } = await client.performance.getOptimizedAuditEvents.query();
      return data[0]?.sequence === told.at(-1);
    });
    way.cut();
    await record(client, events(2));
    const before = Number(told[0]);
    const upTo = (end: number) =>
      Array.from({ length: end - before + 1 }, (_, index) => String(before + index));
    const newest = async () =>
      Number((await client.performance.getOptimizedAuditEvents.query()).data[0]?.sequence);
    const first = await newest();
    await until(() => told.at(-1) === String(first));
    stop();
    await record(client, events(2));
    const stopAgain = start();
    const second = await newest();
    await until(() => told.at(-1) === String(second));
    stopAgain();
    expect(told).toEqual(upTo(second));
    expect(failures).toEqual([]);
    await way.close();
  });

  it('has the kind of a failure', async () => {
    const [event] = events(1);
    const foreign = record(client, [{ organizationId: 'another', action: 'x', status: 'success' }]);
    expect(kindOf(await foreign.catch((error: unknown) => error))).toBe('FORBIDDEN');
    const away = auditClient('http://127.0.0.1:1', () => token);
    const lost = record(away, event ? [event] : []);
    expect(kindOf(await lost.catch((error: unknown) => error))).toBeUndefined();
  });
});
