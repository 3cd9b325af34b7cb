import type { RedisClientType } from '@redis/client';
import { randomInt, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { openClient } from '../integration/redis.fixture';
import { until } from '../integration/until.fixture';
import {
  describeWithPrivateRedis,
  type PrivateRedis,
  startPrivateRedis,
} from '../support/redis-server';
import { EVENTS } from '../support/test-service';
import { DifferentialReader } from './cache-differential.fixture';
import { ConcurrentLoad } from './cache-load.fixture';
import { Stage } from './cache-stage.fixture';
import { createUsers } from './cache-world.fixture';
import { Random } from './random.fixture';
import { type ReplicaSet, Sender, startReplicaSet } from './replica-set.fixture';

/**
 * A longer run: CACHE_SOAK_SECONDS=300 spreads that time over the faults, each of which comes again and again, and
 * reports what it did. CACHE_SEED=123 makes the choices of an earlier run again (its seed is in the name of the suite);
 * what happens at the same time still differs.
 */
const SOAK_SECONDS = Number(process.env['CACHE_SOAK_SECONDS'] ?? 0);
const SEED = Number(process.env['CACHE_SEED'] ?? randomInt(2 ** 31));

/** Rounds of one change and several compared reads: before a fault, while it lasts, and after it. */
const ROUNDS = 40;
/** Load before a fault begins or ends, and after. */
const LOAD_MS = 400;
const REPEATS = 5;
const REPEAT_PAUSE_MS = 100;
/** Beyond the time of a soak, of a fault: boots, slow machines. */
const TIMEOUT_MS = 60_000;

interface Fault {
  begin(redis: PrivateRedis): Promise<void>;
  end(redis: PrivateRedis): Promise<void>;
}

const nothing = () => Promise.resolve();

/** In this order: the first one finds Redis away since before the boot. */
const FAULTS: [name: string, fault: Fault][] = [
  ['away at boot, and comes later', { begin: nothing, end: (redis) => redis.restart() }],
  ['healthy', { begin: nothing, end: nothing }],
  [
    'killed, and comes back empty',
    { begin: (redis) => redis.kill(), end: (redis) => redis.restart() },
  ],
  [
    'stopped, and resumed with its cache',
    {
      begin: (redis) => Promise.resolve(redis.pause()),
      end: (redis) => Promise.resolve(redis.resume()),
    },
  ],
  [
    'emptied again and again',
    {
      begin: (redis) => again(redis, (client) => client.flushAll()),
      end: (redis) => again(redis, (client) => client.flushAll()),
    },
  ],
  [
    'losing its connections again and again',
    { begin: (redis) => again(redis, cutOff), end: (redis) => again(redis, cutOff) },
  ],
];

async function again(
  redis: PrivateRedis,
  act: (client: RedisClientType) => Promise<unknown>,
): Promise<void> {
  const client = await openClient(redis.url);
  for (let time = 0; time < REPEATS; time += 1) {
    await act(client);
    await sleep(REPEAT_PAUSE_MS);
  }
  await client.disconnect();
}

async function cutOff(client: RedisClientType): Promise<void> {
  for (const type of ['normal', 'pubsub']) {
    await client.sendCommand(['CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes']);
  }
}

describeWithPrivateRedis()(`Two replicas with a cache (CACHE_SEED=${SEED})`, () => {
  const random = new Random(SEED);
  const sender = new Sender();
  let redis: PrivateRedis | undefined;
  let replicas: ReplicaSet | undefined;
  let stage: Stage;
  let reader: DifferentialReader;
  let load: ConcurrentLoad;

  beforeAll(async () => {
    redis = await startPrivateRedis();
    await redis.kill();
    // One keeps what was used last for a fixed time, the other learns places and lifetimes; they share Redis.
    replicas = await startReplicaSet(redis.url, { CACHE_ADAPTIVE: 'true' });
    stage = new Stage(replicas.urls, await createUsers(random), sender);
    reader = new DifferentialReader(stage, random);
    load = new ConcurrentLoad(stage, random);
  }, TIMEOUT_MS);

  afterAll(async () => {
    sender.close();
    await replicas?.stop();
    await redis?.stop();
    if (SOAK_SECONDS > 0) process.stderr.write(`${JSON.stringify(stage.counts, null, 2)}\n`);
  });

  /** Resolves once what one replica keeps in Redis is found there by the other. */
  async function untilHitsAreShared(): Promise<void> {
    const [one = '', two = ''] = stage.replicas;
    await until(async () => {
      const path = `${EVENTS}?correlation_ids=${randomUUID()}`;
      const through = (url: string) =>
        stage.read({ user: stage.operator, url: `${url}${path}`, headers: {} });
      expect((await through(one)).headers['x-cache']).toBe('MISS');
      await sleep(REPEAT_PAUSE_MS); // it is kept once it is answered
      return (await through(two)).headers['x-cache'] === 'HIT';
    });
  }

  it.each(FAULTS)(
    'answer as the database does while Redis is %s',
    async (_, fault) => {
      const server = redis;
      if (!server) throw new Error('There is no Redis');
      const { counts } = stage;
      const under = (act: (server: PrivateRedis) => Promise<void>) =>
        load.during(async () => {
          await sleep(LOAD_MS);
          await act(server);
          await sleep(LOAD_MS);
        });
      const endMs = performance.now() + (SOAK_SECONDS * 1000) / FAULTS.length;
      do {
        const hitsBefore = counts.xCache['HIT'] ?? 0;
        await reader.run(ROUNDS);
        await under((redis) => fault.begin(redis));
        await reader.run(ROUNDS);
        await under((redis) => fault.end(redis));
        await reader.run(ROUNDS);
        await untilHitsAreShared();
        expect(counts.xCache['HIT']).toBeGreaterThan(hitsBefore);
      } while (performance.now() < endMs);
      expect(replicas?.unhandled()).toEqual([]);
    },
    TIMEOUT_MS + SOAK_SECONDS * 1000,
  );
});
