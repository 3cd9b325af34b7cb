// Overload: what a flood of one organization costs another, what is left of the throughput beyond the capacity, and how
// punctual the response to a request is whose statement outlasts its deadline.
import { percentile } from './figures.mjs';
import { flood } from './flood.mjs';
import { report, residentMb, sampleEvent, startService, token, withClient } from './support.mjs';

const SECONDS = Number(process.env.BENCH_OVERLOAD_SECONDS ?? 8);
const FLOOD_CONNECTIONS = 200;
const BULK_EVENTS = 1000;
const CLOSED_CONNECTIONS = 20;
const OPEN_CONNECTIONS = 2000;
const PROBE_EVERY_MS = 250;
const DEADLINE_MS = 1000;
const LATE_READS = 5;
const READ = { 'Cache-Control': 'no-cache' };

/** Bulk requests of each API. */
const BULK_DOORS = [
  { what: '', path: '/api/v1/audit/events/bulk', members: (events) => ({ events }) },
  {
    what: ' by tRPC',
    path: '/trpc/performance.bulkCreateAuditEvents',
    members: (events) => ({ events }),
  },
  {
    what: ' by GraphQL',
    path: '/graphql',
    members: (events) => ({
      query: `mutation ($events: [CreateAuditEventInput!]!) {
        bulkCreateAuditEvents(events: $events) { created results { index id sequence status } }
      }`,
      variables: {
        events: events.map((event) => ({ ...event, status: event.status.toUpperCase() })),
      },
    }),
  },
];

export async function overload(databaseUrl) {
  const service = await startService(databaseUrl, {
    CONCURRENCY_QUEUE_SIZE: '200',
    CONCURRENCY_QUEUE_TIMEOUT_MS: '2000',
  });
  const url = `${service.url}/api/v1/audit/events`;
  const headersOf = async (organization, more) => ({
    ...more,
    authorization: `Bearer ${await token([organization])}`,
  });
  try {
    for (const organization of ['flood', 'quiet']) {
      const events = Array.from({ length: 500 }, (_, index) => sampleEvent(organization, index));
      await fetch(`${url}/bulk`, {
        method: 'POST',
        headers: await headersOf(organization, { 'Content-Type': 'application/json' }),
        body: JSON.stringify({ events }),
      });
    }
    const quiet = { url, headers: await headersOf('quiet', READ) };
    const noisy = { url, headers: await headersOf('flood', READ) };
    await noisyNeighbour(noisy, quiet, { alone: 1, flood: 3 });
    await beyondCapacity(noisy, service, 'pages of 50');
    const larger = { ...noisy, url: `${url}?limit=500` };
    await beyondCapacity(larger, service, 'pages of 500');
  } finally {
    await service.stop();
  }
  await besideBulks(databaseUrl, await headersOf('quiet', READ), await headersOf('flood'));
  await deadlines(databaseUrl, await headersOf('quiet', READ));
}

/** Reads of a locked table: the distance of each response from its deadline, and its status. */
async function deadlines(databaseUrl, headers) {
  const service = await startService(databaseUrl, { REQUEST_TIMEOUT_MS: String(DEADLINE_MS) });
  const times = [];
  try {
    await withClient(databaseUrl, async (client) => {
      await client.query('BEGIN; LOCK TABLE audit_event IN ACCESS EXCLUSIVE MODE');
      for (let read = 0; read < LATE_READS; read += 1) {
        const startedMs = performance.now();
        const response = await fetch(`${service.url}/api/v1/audit/events`, { headers });
        const { code } = await response.json();
        times.push(performance.now() - startedMs);
        if (code !== 'REQUEST_TIMEOUT') throw new Error(`Status ${response.status} ${code}`);
      }
    });
  } finally {
    await service.stop();
  }
  // Within 100 ms: 1000 / 1100.
  report(
    'deadline of 1 s vs its answer (ms)',
    times.map(() => DEADLINE_MS),
    times,
    0.91,
  );
}

/** As noisyNeighbour, with floods of writes of a thousand events each by every API, and the settings as they are. */
async function besideBulks(databaseUrl, headers, floodHeaders) {
  const events = Array.from({ length: BULK_EVENTS }, (_, index) => sampleEvent('flood', index));
  for (const { what, path, members } of BULK_DOORS) {
    const service = await startService(databaseUrl);
    const noisy = {
      url: `${service.url}${path}`,
      headers: { ...floodHeaders, 'Content-Type': 'application/json' },
      body: JSON.stringify(members(events)),
    };
    try {
      const quiet = { url: `${service.url}/api/v1/audit/events`, headers };
      await noisyNeighbour(noisy, quiet, {}, ` of bulks of 1000${what}`);
    } finally {
      await service.stop();
    }
  }
}

/** One organization floods with 200 connections while another reads a page now and then, one after the other. */
async function noisyNeighbour(noisy, quiet, wanted, what = '') {
  await steps(quiet, 1);
  const alone = percentile(await steps(quiet, SECONDS), 95);
  const loading = flood({ ...noisy, connections: FLOOD_CONNECTIONS, seconds: SECONDS + 2 });
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const beside = percentile(await steps(quiet, SECONDS), 95);
  const { goodMs } = await loading;
  const name = `quiet p95 alone x 4 vs beside a flood of 200${what} (µs)`;
  report(name, 4000 * alone, 1000 * beside, wanted.alone);
  const floodName = `p50 of the flood${what} vs p95 of the quiet one (µs)`;
  report(floodName, 1000 * goodMs.p50, 1000 * beside, wanted.flood);
}

/** Milliseconds of each of the requests made one after the other, 20 ms apart. */
async function steps({ url, headers }, seconds) {
  const times = [];
  const endMs = performance.now() + seconds * 1000;
  while (performance.now() < endMs) {
    const startedMs = performance.now();
    const response = await fetch(url, { headers });
    await response.arrayBuffer();
    if (response.status !== 200) throw new Error(`The quiet one has status ${response.status}`);
    times.push(performance.now() - startedMs);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return times;
}

/** An open load of 1, 2, 4 and 8 times what a closed one reaches: responses in time, refusals, memory, probes. */
async function beyondCapacity(target, service, what) {
  console.log(`  ${what}:`);
  await flood({ ...target, connections: CLOSED_CONNECTIONS, seconds: 2 }); // warms up
  const { goodput: capacity } = await flood({
    ...target,
    connections: CLOSED_CONNECTIONS,
    seconds: SECONDS,
  });
  const runs = [];
  for (const times of [1, 2, 4, 8]) runs.push(await openLoad(target, service, times, capacity));
  const peak = Math.max(capacity, ...runs.map(({ goodput }) => goodput));
  for (const { times, goodput } of runs) {
    const wanted = times === 4 ? 0.9 : undefined;
    const name = `${what}: goodput at ${times} times the capacity vs peak`;
    report(`${name} (pages/s)`, goodput, peak, wanted);
  }
  const [first, , third] = runs;
  report(`${what}: p99 of answers at 1 vs at 4 times (ms)`, first.p99, third.p99);
  report(`${what}: memory at 1 vs at 4 times (MB)`, first.rssMb[1], third.rssMb[1], 0.7);
}

async function openLoad({ url, headers }, service, times, capacity) {
  const rssMb = [Math.round(residentMb(service.pid))];
  const probes = { all: 0, good: 0 };
  const probing = setInterval(async () => {
    probes.all += 1;
    const response = await fetch(`${service.url}/health/ready`).catch(() => undefined);
    if (response?.status === 200) probes.good += 1;
  }, PROBE_EVERY_MS);
  const rate = times * capacity;
  const seen = await flood({ url, headers, connections: OPEN_CONNECTIONS, seconds: SECONDS, rate });
  clearInterval(probing);
  await new Promise((resolve) => setTimeout(resolve, PROBE_EVERY_MS));
  rssMb.push(Math.round(residentMb(service.pid)));
  const { goodput, goodMs, refused, refusedMs, other, unsent } = seen;
  const refusals =
    refused === 0 ? '' : ` (p50 ${refusedMs.p50.toFixed(0)}, p95 ${refusedMs.p95.toFixed(0)} ms)`;
  console.log(
    `  ${times}x: offered ${Math.round(rate)}/s, answered ${Math.round(goodput)}/s (p95 ${goodMs.p95.toFixed(0)} ms), ` +
      `refused ${refused}${refusals}, other ${other}, unsent ${unsent}, ` +
      `probes ${probes.good}/${probes.all}, RSS ${rssMb[0]} -> ${rssMb[1]} MB`,
  );
  return { times, goodput, p99: goodMs.p99, rssMb };
}
