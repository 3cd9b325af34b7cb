import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../integration/until.fixture';
import { openNetworkPath, type NetworkPath } from '../integration/network-path.fixture';
import {
  describeWithPrivateRedis,
  type PrivateRedis,
  startPrivateRedis,
} from '../support/redis-server';
import { DifferentialReader } from './cache-differential.fixture';
import { ConcurrentLoad } from './cache-load.fixture';
import { Stage } from './cache-stage.fixture';
import { createUsers } from './cache-world.fixture';
import { Random } from './random.fixture';
import { type ReplicaSet, Sender, startReplicaSet } from './replica-set.fixture';

const SEED = Number(process.env['CACHE_SEED'] ?? randomInt(2 ** 31));
const ROUNDS = 25;
const LOAD_MS = 400;
/** Each way: below what a command may take, about that, and far beyond it; and whether answers are waited for then. */
const DELAYS: [delayMs: number, areWaitedFor: boolean][] = [
  [5, true],
  [60, true],
  [1500, false],
];

/** Resolves once a replica says that Redis answers it, or that it does not. */
function untilRedisIs(isUp: boolean, replica: string): Promise<void> {
  const wanted = `\naudit_redis_up ${isUp ? 1 : 0}\n`;
  return until(async () => (await (await fetch(`${replica}/metrics`)).text()).includes(wanted));
}

/** One replica has a slow way to Redis, the other a fast one: they must agree, and neither may wait for what comes late. */
describeWithPrivateRedis()(`Two replicas, one far from Redis (CACHE_SEED=${SEED})`, () => {
  const random = new Random(SEED);
  const sender = new Sender();
  let redis: PrivateRedis;
  let network: NetworkPath;
  let replicas: ReplicaSet;
  let stage: Stage;
  let reader: DifferentialReader;
  let load: ConcurrentLoad;

  beforeAll(async () => {
    redis = await startPrivateRedis();
    network = await openNetworkPath(redis.url);
    replicas = await startReplicaSet(network.url, { REDIS_URL: redis.url });
    stage = new Stage(replicas.urls, await createUsers(random), sender);
    reader = new DifferentialReader(stage, random);
    load = new ConcurrentLoad(stage, random);
  }, 120_000);

  afterAll(async () => {
    sender.close();
    await replicas?.stop();
    network?.cut();
    await redis?.stop();
  });

  it.each(DELAYS)(
    'answer as the database does while it is %d ms away, and after',
    async (delayMs, areWaitedFor) => {
      const [far = '', near = ''] = replicas.urls;
      await load.during(async () => {
        await sleep(LOAD_MS);
        network.slowDown(delayMs);
        await sleep(LOAD_MS);
        await untilRedisIs(areWaitedFor, far);
      });
      await reader.run(ROUNDS);
      await untilRedisIs(true, near);
      await load.during(async () => {
        network.slowDown(0);
        await sleep(LOAD_MS);
        await untilRedisIs(true, far);
      });
      await reader.run(ROUNDS);
      expect(replicas.unhandled()).toEqual([]);
    },
    60_000,
  );
});
