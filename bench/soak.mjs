// npm run soak: the service at 70 % of what it was measured to carry, for SOAK_SECONDS (600), and whether what it holds
// stays flat: the first third of the samples beside the last. See bench/README.md.
import { createClient } from '@redis/client';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { SoakLoad } from './soak-load.mjs';
import { openDatabase, root, startRedis, startService, token } from './support.mjs';

const SECONDS = Number(process.env.SOAK_SECONDS ?? 600);
/** Caches and pools fill up meanwhile, so that only what goes on growing shows later. */
const CAPACITY_SECONDS = Math.max(10, SECONDS / 20);
const SHARE = 0.7;
const SAMPLES = 30;
/** Short-lived and small, so that the cache is full, and its oldest entries gone, when the samples begin. */
const CACHE = { CACHE_DEFAULT_TTL_SECONDS: '5', CACHE_MAX_SIZE_MB: '8' };

/** How much more the last third may hold than the first: a share, and an amount that is noise. */
const MAY_GROW = {
  heapMB: [0.1, 5],
  externalMB: [0.25, 10],
  handles: [0.1, 20],
  descriptors: [0.1, 20],
  connections: [0, 3],
  preparedStatements: [0, 2],
  redisKeys: [0.25, 200],
};

const database = await openDatabase();
const redis = await startRedis();
process.env.BENCH_NODE_FLAGS = `--expose-gc --require ${join(root, 'bench/soak-probe.cjs')}`;
const service = await startService(database.url, { REDIS_URL: redis.url, ...CACHE });
const admin = new pg.Client({ connectionString: database.url });
await admin.connect();
const keys = createClient({ url: redis.url });
await keys.connect();
const load = new SoakLoad(service.url, await token(['*']));
try {
  process.exitCode = (await soak()) ? 0 : 1;
} finally {
  load.close();
  await keys.disconnect();
  await admin.end();
  await service.stop();
  await redis.stop();
  await database.close();
}
process.exit();

async function soak() {
  const capacity = await load.measureCapacity(CAPACITY_SECONDS);
  const rate = capacity * SHARE;
  console.log(
    `Capacity ${Math.round(capacity)} requests/s; soaking at ${Math.round(rate)}/s for ${SECONDS} s.`,
  );
  const before = { ...load.counts };
  const holding = load.hold(rate, performance.now() + SECONDS * 1000);
  const samples = [];
  for (let at = 0; at < SAMPLES; at += 1) {
    await sleep((SECONDS * 1000) / (SAMPLES + 1));
    samples.push(await sample());
  }
  await holding;
  const { done, refused, failed, late } = load.counts;
  console.log(
    `${done - before.done} done, ${refused - before.refused} refused, ${failed} failed, ${late} late` +
      (failed > 0 ? `; the last failure: ${load.lastFailure}` : ''),
  );
  return report(samples) && failed === 0;
}

async function sample() {
  const { rows } = await admin.query(
    `SELECT count(*)::int AS connections FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`,
  );
  return {
    ...(await service.ask()),
    descriptors: process.platform === 'linux' ? readdirSync(`/proc/${service.pid}/fd`).length : 0,
    connections: rows[0].connections,
    redisKeys: await keys.dbSize(),
  };
}

function report(samples) {
  const third = Math.floor(samples.length / 3);
  const mean = (part, name) => part.reduce((sum, one) => sum + one[name], 0) / part.length;
  console.log(`${'samples'.padEnd(20)} ${'first third'.padStart(12)} ${'last third'.padStart(12)}`);
  let flat = true;
  for (const name of [...Object.keys(MAY_GROW), 'rssMB']) {
    const [first, last] = [samples.slice(0, third), samples.slice(-third)].map((part) =>
      mean(part, name),
    );
    const [share, amount] = MAY_GROW[name] ?? [Infinity, 0];
    const holds = last <= first + Math.max(first * share, amount);
    flat &&= holds;
    console.log(
      `${name.padEnd(20)} ${first.toFixed(1).padStart(12)} ${last.toFixed(1).padStart(12)}  ${holds ? '' : 'GROWS'}`,
    );
  }
  return flat;
}
