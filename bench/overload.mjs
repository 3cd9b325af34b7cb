// Overload: what a flood of one organization costs another, and what is left of the throughput beyond the capacity.
import autocannon from 'autocannon';
import { readFileSync } from 'node:fs';
import { report, sampleEvent, startService, token } from './support.mjs';

const SECONDS = Number(process.env.BENCH_OVERLOAD_SECONDS ?? 8);
const FLOOD_CONNECTIONS = 200;
const PROBE_EVERY_MS = 250;
const READ = { 'Cache-Control': 'no-cache' };

export async function overload(databaseUrl) {
  const service = await startService(databaseUrl, {
    CONCURRENCY_MAX_REQUESTS: '10',
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
    const flood = { url, headers: await headersOf('flood', READ) };
    await noisyNeighbour(flood, quiet);
    await beyondCapacity(flood, service);
  } finally {
    await service.stop();
  }
}

/** One organization floods with 200 connections while another reads a page now and then, one after the other. */
async function noisyNeighbour(flood, quiet) {
  await steps(quiet, 1);
  const alone = percentile(await steps(quiet, SECONDS), 95);
  const flooding = autocannon({ ...flood, connections: FLOOD_CONNECTIONS, duration: SECONDS + 2 });
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const beside = percentile(await steps(quiet, SECONDS), 95);
  const { latency } = await flooding;
  report('quiet p95 alone x 4 vs beside a flood of 200 (µs)', 4000 * alone, 1000 * beside, 1);
  report('p50 of the flood vs p95 of the quiet one (µs)', 1000 * latency.p50, 1000 * beside, 3);
}

/** Milliseconds of each of the requests made one after the other, 20 ms apart. */
async function steps({ url, headers }, seconds) {
  const times = [];
  const endMs = performance.now() + seconds * 1000;
  while (performance.now() < endMs) {
    const startedMs = performance.now();
    const response = await fetch(url, { headers });
    await response.arrayBuffer();
    if (response.status !== 200) throw new Error(`The quiet one was answered ${response.status}`);
    times.push(performance.now() - startedMs);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return times;
}

/** An open load of 1, 2, 4 and 8 times what a closed one reaches: answers in time, refusals, memory, probes. */
async function beyondCapacity(target, service) {
  const closed = await autocannon({ ...target, connections: 10, duration: SECONDS });
  const capacity = closed['2xx'] / closed.duration;
  const runs = [];
  for (const times of [1, 2, 4, 8]) runs.push(await openLoad(target, service, times, capacity));
  const peak = Math.max(...runs.map(({ goodput }) => goodput));
  for (const { times, goodput, refusedP95, probes, rssMb } of runs) {
    report(
      `goodput at ${times} times the capacity vs peak (pages/s)`,
      goodput,
      peak,
      times === 4 ? 0.9 : undefined,
    );
    console.log(
      `  refusals p95 ${refusedP95.toFixed(0)} ms, probes ${probes.good}/${probes.all}, RSS ${rssMb[0]} -> ${rssMb[1]} MB`,
    );
  }
  const [first, , third] = runs;
  report('memory at 1 vs at 4 times the capacity (MB)', first.rssMb[1], third.rssMb[1], 0.7);
}

async function openLoad({ url, headers }, service, times, capacity) {
  const rssMb = [rssOf(service.pid)];
  const probes = { all: 0, good: 0 };
  const probing = setInterval(async () => {
    probes.all += 1;
    const response = await fetch(`${service.url}/health/ready`).catch(() => undefined);
    if (response?.status === 200) probes.good += 1;
  }, PROBE_EVERY_MS);
  const load = autocannon({
    url,
    headers,
    connections: 1000,
    duration: SECONDS,
    overallRate: Math.round(times * capacity),
    workers: 1,
  });
  const result = await load;
  clearInterval(probing);
  await new Promise((resolve) => setTimeout(resolve, PROBE_EVERY_MS));
  rssMb.push(rssOf(service.pid));
  const goodput = result['2xx'] / result.duration;
  const refused = result.statusCodeStats?.['503']?.count ?? 0;
  console.log(
    `  ${times}x: offered ${Math.round(times * capacity)}/s, answered ${Math.round(goodput)}/s, refused ${refused}, other ${result.non2xx - refused + result.errors}`,
  );
  return { times, goodput, refusedP95: result.latency.p97_5, probes, rssMb };
}

function rssOf(pid) {
  const pages = Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]);
  return Math.round((pages * 4096) / 1024 / 1024);
}

function percentile(values, percent) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((percent / 100) * sorted.length))];
}
