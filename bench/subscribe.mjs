// Subscriptions: 1000 readers of live tails on two replicas while 500 events a second are recorded; each must get all of its own,
// in order. How long an event takes from being sent to being received, beside a bare node:http that forwards the same.
import { spawnSync } from 'node:child_process';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { eventsOf } from './data.mjs';
import { percentile } from './figures.mjs';
import {
  report,
  residentMb,
  root,
  startProcess,
  startRedis,
  startService,
  token,
} from './support.mjs';

const SECONDS = Number(process.env.BENCH_SECONDS ?? 5);
const SUBSCRIBERS = 1000;
const ORGANIZATIONS = 20;
const EVENTS_A_SECOND = 500;
const EVENTS_A_REQUEST = 10;
const ROUNDS = 3;
const SENT = /"sentAtMicros":(\d+)/g;

export async function subscribe(databaseUrl) {
  const redis = spawnSync('redis-server', ['--version']).error ? undefined : await startRedis();
  if (!redis) {
    console.log('subscriptions: NOT MEASURED, there is no redis-server on the PATH');
    return;
  }
  const env = { REDIS_URL: redis.url, SUBSCRIPTIONS_MAX_PER_PRINCIPAL: '1000' };
  const replicas = [await startService(databaseUrl, env), await startService(databaseUrl, env)];
  const bare = await startProcess(join(root, 'bench/fanout-server.mjs'), 'ready', {});
  try {
    const names = Array.from({ length: ORGANIZATIONS }, (_, index) => `org-${index}`);
    const tokens = await Promise.all(names.map((name) => token([name])));
    const ours = {
      listen: (at, name) => ({
        url: `${replicas[at % 2].url}/api/v1/audit/events/tail`,
        authorization: `Bearer ${tokens[name]}`,
      }),
      publish: (at, name) => ({
        url: `${replicas[at % 2].url}/api/v1/audit/events/bulk`,
        authorization: `Bearer ${tokens[name]}`,
      }),
    };
    const reference = { listen: (_, name) => ({ url: `${bare.url}/${name}` }) };
    reference.publish = reference.listen;
    const heldMb = () => Math.round(residentMb(replicas[0].pid));
    const beforeMb = heldMb();
    const figures = { ours: [], bare: [] };
    for (let round = 0; round <= ROUNDS; round += 1) {
      for (const [name, way] of Object.entries({ ours, bare: reference })) {
        const figure = await fanOut(way, names);
        if (round > 0) figures[name].push(figure);
      }
    }
    const of = (who, percent) => figures[who].map(({ times }) => percentile(times, percent) * 1000);
    report('delivery p50 of bare node:http vs ours (µs)', of('bare', 50), of('ours', 50));
    report('delivery p99 of bare node:http vs ours (µs)', of('bare', 99), of('ours', 99));
    const rates = (who) => figures[who].map(({ received }) => received / SECONDS);
    report('deliveries, ours vs bare node:http (events/s)', rates('ours'), rates('bare'), 0.95);
    console.log(`  resident memory of a replica: ${beforeMb} MB before, ${heldMb()} MB after`);
  } finally {
    await Promise.all([...replicas, bare].map((server) => server.stop()));
    await redis.stop();
  }
}

/** One load: readers first, then events. @throws when a reader misses an event or gets one out of order. */
async function fanOut(way, names) {
  const readers = await Promise.all(
    Array.from({ length: SUBSCRIBERS }, (_, at) => {
      const name = at % names.length;
      return openReader(way.listen(at, name), name);
    }),
  );
  await sleep(500);
  const sent = names.map(() => 0);
  const posts = [];
  const requests = SECONDS * (EVENTS_A_SECOND / EVENTS_A_REQUEST);
  const startMs = performance.now();
  for (let at = 0; at < requests; at += 1) {
    const name = at % names.length;
    const events = eventsOf(names[name], EVENTS_A_REQUEST).map((event) => ({
      ...event,
      id: undefined,
      metadata: { ...event.metadata, sentAtMicros: Math.round(1000 * performance.now()) },
    }));
    sent[name] += events.length;
    const { url, authorization } = way.publish(at, name);
    posts.push(
      fetch(url, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', ...(authorization && { authorization }) },
        body: JSON.stringify({ events }),
      }).then(async (response) => {
        await response.arrayBuffer();
        if (response.status !== 201) throw new Error(`${url}: ${response.status}`);
      }),
    );
    await sleep(Math.max(0, startMs + ((at + 1) * 1000 * SECONDS) / requests - performance.now()));
  }
  await Promise.all(posts);
  const deadlineMs = performance.now() + 10_000;
  const missing = () => readers.filter(({ name, received }) => received !== sent[name]).length;
  while (missing() > 0 && performance.now() < deadlineMs) await sleep(50);
  for (const reader of readers) reader.close();
  const wrong = readers.filter(({ isInOrder }) => !isInOrder).length;
  if (missing() > 0 || wrong > 0) {
    throw new Error(`${missing()} readers have not what was sent, ${wrong} not in its order`);
  }
  const received = readers.reduce((sum, reader) => sum + reader.received, 0);
  return { times: readers.flatMap(({ times }) => times), received };
}

function openReader({ url, authorization }, name) {
  const { hostname, port, pathname } = new URL(url);
  const reader = { name, received: 0, isInOrder: true, times: [] };
  const lines = [`GET ${pathname} HTTP/1.1`, `Host: ${hostname}:${port}`];
  if (authorization) lines.push(`Authorization: ${authorization}`);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port) });
    let rest = '';
    let last = 0;
    socket.on('connect', () => socket.write(`${lines.join('\r\n')}\r\n\r\n`));
    socket.on('error', reject);
    socket.on('data', (chunk) => {
      const atMs = performance.now();
      rest += chunk.latin1Slice();
      if (!rest.includes('\n\n')) return;
      const end = rest.lastIndexOf('\n\n');
      const whole = rest.slice(0, end);
      rest = rest.slice(end);
      if (whole.includes('retry:')) {
        if (!whole.startsWith('HTTP/1.1 200')) return reject(new Error(whole.slice(0, 200)));
        resolve(reader);
      }
      for (const [, sentAtMicros] of whole.matchAll(SENT)) {
        reader.received += 1;
        reader.times.push(atMs - Number(sentAtMicros) / 1000);
      }
      for (const [, sequence] of whole.matchAll(/"sequence":"(\d+)"/g)) {
        if (last !== 0 && Number(sequence) !== last + 1) reader.isInOrder = false;
        last = Number(sequence);
      }
    });
    reader.close = () => socket.destroy();
  });
}
