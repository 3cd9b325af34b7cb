// Cached pages: hits against the same bytes from node:http and express, against the uncached page, and with Redis.
import { spawnSync } from 'node:child_process';
import { seed } from './read.mjs';
import { load, report, startBytes, startRedis, startService, token } from './support.mjs';

const CONNECTIONS = [8, 64];

export async function cache(databaseUrl) {
  const empty = await startService(databaseUrl); // migrates
  await empty.stop();
  await seed(databaseUrl);
  await hits(databaseUrl, 'in process', {});
  const redis = spawnSync('redis-server', ['--version']).error ? undefined : await startRedis();
  if (!redis) {
    console.log('hits with Redis: NOT MEASURED, there is no redis-server on the PATH');
    return;
  }
  try {
    await hits(databaseUrl, 'Redis', { REDIS_URL: redis.url });
  } finally {
    await redis.stop();
  }
}

async function hits(databaseUrl, tier, env) {
  const service = await startService(databaseUrl, env);
  const jwt = await token(['deep']);
  const url = `${service.url}/api/v1/audit/events`;
  const headers = { authorization: `Bearer ${jwt}` };
  const bare = await startBytes({ url, token: jwt, by: 'node' });
  const express = await startBytes({ url, token: jwt, by: 'express' });
  try {
    const fresh = { ...headers, 'cache-control': 'no-cache' };
    for (const target of [
      { url, headers },
      { url, headers: fresh },
      { url: bare.url },
      { url: express.url },
    ]) {
      await load({ ...target, connections: 8 }); // warm
    }
    for (const connections of CONNECTIONS) {
      const hit = await load({ url, headers, connections });
      const plain = await load({ url: bare.url, connections });
      report(
        `cached page of 50, ${tier}, ${connections} clients, vs node:http`,
        hit,
        plain,
        tier === 'Redis' ? 0.3 : 0.5,
      );
      report(
        `cached page of 50, ${tier}, ${connections} clients, vs express`,
        hit,
        await load({ url: express.url, connections }),
        1,
      );
    }
    for (const connections of CONNECTIONS) {
      const hit = await load({ url, headers, connections });
      const miss = await load({ url, headers: fresh, connections });
      // With few clients both wait for PostgreSQL most of the time; what the processor can do shows with many.
      const wanted = connections === Math.max(...CONNECTIONS) ? 10 : undefined;
      report(`cached page of 50, ${tier}, ${connections} clients, vs uncached`, hit, miss, wanted);
    }
  } finally {
    await Promise.all([service.stop(), bare.stop(), express.stop()]);
  }
}
