import { randomUUID } from 'node:crypto';
import {
  type Build,
  buildService,
  type ServiceProcess,
  startServiceProcess,
  tokenFor,
} from '../integration/service.fixture';
import { until } from '../integration/until.fixture';
import {
  describeWithPrivateRedis,
  type PrivateRedis,
  startPrivateRedis,
} from '../support/redis-server';
import { GraphqlSubscriber } from '../support/graphql-subscriber';
import { RECORDED } from '../support/socket-stage';
import { TailClient } from '../support/tail-client';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { type EventJson, EVENTS, eventWith } from '../support/test-service';

const ORGANIZATIONS = 4;

/** One connection of a reader. */
interface Reading {
  events: Record<string, unknown>[];
  /** With what to go on behind the last event; empty without one. */
  lastId: string;
  isOver: boolean;
  close: () => Promise<void>;
}

/** How a reader connects, behind the last event that it has; undefined when it is refused. */
type Connect = (url: string, token: string, lastId: string) => Promise<Reading | undefined>;

const overEvents: Connect = async (url, token, lastId) => {
  const headers = { authorization: `Bearer ${token}`, 'last-event-id': lastId };
  const client = await TailClient.open(`${url}${EVENTS}/tail`, headers).catch(() => undefined);
  return client?.response.status === 200 ? client : undefined;
};

const overSockets: Connect = (url, token, after) => {
  const params = { authorization: `Bearer ${token}` };
  const subscriber = GraphqlSubscriber.open(url, params, RECORDED, { after });
  return Promise.resolve({
    get events() {
      return subscriber.data.map(({ auditEventRecorded }) => auditEventRecorded as EventJson);
    },
    get lastId() {
      const last = subscriber.data.at(-1)?.auditEventRecorded as EventJson | undefined;
      return last?.sequence ?? '';
    },
    get isOver() {
      return subscriber.isOver;
    },
    close: () => subscriber.close(),
  });
};

/** The readers of each organization. */
const WAYS = [overEvents, overEvents, overSockets];

/** A reader that connects again, from its last event and to another replica, when its stream ends. */
class Follower {
  readonly sequences: number[] = [];
  readonly strangers: unknown[] = [];
  private client: Reading | undefined;
  private lastId = '0';
  private isDone = false;
  private readonly running: Promise<void>;

  constructor(
    private readonly connect: Connect,
    private readonly organization: string,
    private readonly token: string,
    private urls: () => string[],
  ) {
    this.running = this.follow();
  }

  async stop(): Promise<void> {
    this.isDone = true;
    await this.client?.close();
    await this.running;
  }

  private async follow(): Promise<void> {
    for (let attempt = 0; !this.isDone; attempt += 1) {
      const urls = this.urls();
      const url = urls[attempt % urls.length] ?? '';
      const client = await this.connect(url, this.token, this.lastId);
      if (!client) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        continue;
      }
      this.client = client;
      await until(() => client.isOver || this.isDone);
      if (!client.isOver) await client.close();
      this.take(client);
    }
  }

  private take(client: Reading): void {
    for (const { sequence, organizationId } of client.events) {
      if (organizationId === this.organization) this.sequences.push(Number(sequence));
      else this.strangers.push(organizationId);
    }
    if (client.lastId !== '') this.lastId = client.lastId;
  }

  /** The last number it has, taken or still with its client. */
  get last(): number {
    return Number.parseInt(this.client?.lastId || this.lastId, 10);
  }
}

describeWithPrivateRedis()(
  'readers of several replicas, of the tail and of GraphQL subscriptions',
  () => {
    let redis: PrivateRedis;
    let test: TestDatabase;
    let build: Build;
    let replicas: ServiceProcess[] = [];

    const start = () => startServiceProcess(build, test.url, { REDIS_URL: redis.url });

    beforeAll(async () => {
      redis = await startPrivateRedis();
      test = await createTestDatabase();
      build = await buildService();
      replicas = [await start(), await start()];
    }, 120_000);

    afterAll(async () => {
      await Promise.all(replicas.map((replica) => replica.end('SIGKILL')));
      await build?.remove();
      await test?.drop();
      await redis?.stop();
    }, 60_000);

    it('miss nothing and repeat nothing while replicas are killed and Redis is paused and emptied', async () => {
      const organizations = Array.from({ length: ORGANIZATIONS }, () => `org-${randomUUID()}`);
      const writer = await tokenFor();
      const urls = () => replicas.map(({ url }) => url);
      const followers = await Promise.all(
        organizations.flatMap((organization) =>
          WAYS.map(async (connect) => {
            const token = await tokenFor({ organizations: [organization], subject: randomUUID() });
            return new Follower(connect, organization, token, urls);
          }),
        ),
      );
      let isWriting = true;
      // Ids of its own, so that what was written by an unanswered request is not written twice.
      const write = async (organizationId: string): Promise<number> => {
        let written = 0;
        for (let round = 0; isWriting; round += 1) {
          const event = eventWith({ organizationId, id: randomUUID() });
          for (let isStored = false; !isStored;) {
            const url = urls()[round % urls().length] ?? '';
            const answer = await fetch(`${url}${EVENTS}`, {
              method: 'POST',
              headers: { authorization: `Bearer ${writer}`, 'content-type': 'application/json' },
              body: JSON.stringify(event),
            }).catch(() => undefined);
            isStored = answer?.ok === true;
            if (!isStored) await new Promise((resolve) => setTimeout(resolve, 20));
          }
          written += 1;
        }
        return written;
      };
      const writing = Promise.all(organizations.map(write));
      const everyoneHas = (count: number) =>
        until(() => followers.every(({ last }) => last >= count));

      await everyoneHas(50);
      const [first] = replicas;
      replicas = replicas.slice(1);
      await first?.end('SIGKILL');
      await everyoneHas(100);
      replicas = [...replicas, await start()];
      redis.pause();
      await everyoneHas(200);
      redis.resume();
      await redis.restart();
      const [second] = replicas;
      replicas = replicas.slice(1);
      await second?.end('SIGTERM');
      await everyoneHas(250);
      isWriting = false;
      const written = await writing;
      await until(() =>
        followers.every(({ last }, at) => last === written[Math.floor(at / WAYS.length)]),
      );
      for (const follower of followers) await follower.stop();

      followers.forEach(({ sequences, strangers }, at) => {
        const count = written[Math.floor(at / WAYS.length)] ?? 0;
        expect(strangers).toEqual([]);
        expect(sequences).toEqual(Array.from({ length: count }, (_, index) => index + 1));
      });
      for (const replica of replicas) expect(replica.unhandled()).toEqual([]);
    }, 120_000);
  },
);
