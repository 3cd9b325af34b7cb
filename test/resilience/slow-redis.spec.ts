import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { openWay, type Way } from '../integration/way.fixture';
import {
  describeWithPrivateRedis,
  type PrivateRedis,
  startPrivateRedis,
} from '../support/redis-server';
import { DifferentialReader } from './cache-differential.fixture';
import { ConcurrentLoad } from './cache-load.fixture';
import { MAX_READ_MS, Stage } from './cache-stage.fixture';
import { createUsers } from './cache-world.fixture';
import { Random } from './random.fixture';
import { type ReplicaSet, Sender, startReplicaSet } from './replica-set.fixture';

const SEED = Number(process.env['CACHE_SEED'] ?? randomInt(2 ** 31));
const ROUNDS = 25;
const LOAD_MS = 400;
/** Each way: below what a command may take, about that, and far beyond it. */
const DELAYS_MS = [5, 60, 1500];

/** One replica has a slow way to Redis, the other a fast one: they must agree, and neither may wait for long. */
describeWithPrivateRedis()(`Two replicas, one far from Redis (CACHE_SEED=${SEED})`, () => {
  const random = new Random(SEED);
  const sender = new Sender();
  let redis: PrivateRedis;
  let way: Way;
  let replicas: ReplicaSet;
  let stage: Stage;
  let reader: DifferentialReader;
  let load: ConcurrentLoad;

  beforeAll(async () => {
    redis = await startPrivateRedis();
    way = await openWay(redis.url);
    replicas = await startReplicaSet(way.url, redis.url);
    stage = new Stage(replicas.urls, await createUsers(random), sender);
    reader = new DifferentialReader(stage, random);
    load = new ConcurrentLoad(stage, random);
  }, 120_000);

  afterAll(async () => {
    sender.close();
    await replicas?.stop();
    way?.cut();
    await redis?.stop();
  });

  it.each(DELAYS_MS)(
    'answer as the database does while it is %d ms away, and after',
    async (delayMs) => {
      await load.during(async () => {
        await sleep(LOAD_MS);
        way.slowDown(delayMs);
        await sleep(LOAD_MS);
      });
      await reader.run(ROUNDS);
      await load.during(async () => {
        way.slowDown(0);
        await sleep(LOAD_MS);
      });
      await reader.run(ROUNDS);
      expect(stage.counts.slowestReadMs).toBeLessThan(MAX_READ_MS);
      expect(replicas.unhandled()).toEqual([]);
    },
    60_000,
  );
});
