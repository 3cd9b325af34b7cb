// Cached pages: hits against the same bytes from node:http, express and nginx, against the uncached page, and with Redis.
import { spawnSync } from 'node:child_process';
import { seed } from './read.mjs';
import { startNginxCache } from './neighbours.mjs';
import {
  interleaved,
  load,
  report,
  startBytes,
  startRedis,
  startService,
  token,
} from './support.mjs';

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
  const nginx = await startNginxCache(bare.url);
  const fresh = { ...headers, 'cache-control': 'no-cache' };
  try {
    for (const connections of CONNECTIONS) {
      const page = (target) => () => load({ ...target, connections });
      const works = {
        hit: page({ url, headers }),
        bare: page({ url: bare.url }),
        express: page({ url: express.url }),
        miss: page({ url, headers: fresh }),
      };
      if (nginx) works.nginx = page({ url: nginx.url });
      const figures = await interleaved(works);
      const name = (reference) =>
        `cached page of 50, ${tier}, ${connections} clients, vs ${reference}`;
      report(name('node:http'), figures.hit, figures.bare, tier === 'Redis' ? 0.3 : 0.5);
      report(name('express'), figures.hit, figures.express, 1);
      if (nginx) report(name('nginx proxy_cache'), figures.hit, figures.nginx);
      // With few clients both wait for PostgreSQL most of the time; what the processor can do shows with many.
      const wanted = connections === Math.max(...CONNECTIONS) ? 10 : undefined;
      report(name('uncached'), figures.hit, figures.miss, wanted);
    }
  } finally {
    await Promise.all([service, bare, express, nginx].map((server) => server?.stop()));
  }
}
