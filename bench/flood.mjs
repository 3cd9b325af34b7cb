// A load that accepts refusals and measures the time of responses of each kind, from a thread of its own: what is
// measured beside it must not wait for it. With a rate it is open: requests are due at their times, whatever has become
// of those before; without one, each connection sends the next request after a response.
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { percentile } from './figures.mjs';
import { HEAD_END, requestBytes } from './load.mjs';

const TICK_MS = 2;

/**
 * Sends requests for so many seconds, GET unless they have a body. `unsent` are those of an open load that were due when
 * no connection was free. Times are milliseconds from when a request was sent. Anything but 200, 201 and 503 is `other`.
 */
export async function flood({ url, headers, body, connections, seconds, rate }) {
  const worker = new Worker(fileURLToPath(import.meta.url), {
    workerData: { url, headers, body, connections, seconds, rate },
  });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

async function send({ url, headers, body, connections, seconds, rate }) {
  const run = { good: [], refused: [], other: 0, unsent: 0 };
  const request = requestBytes(url, body === undefined ? 'GET' : 'POST', headers, body);
  const clients = await Promise.all(
    Array.from({ length: connections }, () => open(new URL(url), request, run)),
  );
  const startedMs = performance.now();
  const idle = [...clients];
  for (const client of clients) client.onIdle = () => (rate ? idle.push(client) : client.ask());
  if (!rate) idle.splice(0).forEach((client) => client.ask());
  let due = 0;
  const ticking = setInterval(() => {
    if (!rate) return;
    const until = Math.floor(((performance.now() - startedMs) * rate) / 1000);
    for (; due < until; due += 1) {
      const client = idle.shift();
      if (client) client.ask();
      else run.unsent += 1;
    }
  }, TICK_MS);
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  clearInterval(ticking);
  const took = (performance.now() - startedMs) / 1000;
  const { good, refused, other, unsent } = run;
  for (const client of clients) client.end();
  return {
    goodput: good.length / took,
    refused: refused.length,
    other,
    unsent,
    goodMs: percentiles(good),
    refusedMs: percentiles(refused),
  };
}

/** A connection with at most one request under way; opened again when the service closes it. */
function open(url, request, run) {
  const client = { onIdle: () => undefined, ask: undefined, end: undefined };
  let isOver = false;
  return new Promise((resolve) => {
    const dial = () => {
      const socket = connect({ host: url.hostname, port: Number(url.port), noDelay: true });
      let sentMs;
      let head = '';
      let left;
      client.ask = () => {
        sentMs = performance.now();
        socket.write(request);
      };
      client.end = () => {
        isOver = true;
        socket.destroy();
      };
      socket.on('data', (chunk) => {
        if (left === undefined) {
          head += chunk.latin1Slice();
          const at = head.indexOf(HEAD_END);
          if (at === -1) return;
          const length = /\r\ncontent-length: *(\d+)/i.exec(head.slice(0, at));
          left = Number(length?.[1] ?? NaN) - (head.length - at - HEAD_END.length);
        } else left -= chunk.length;
        if (left > 0) return;
        const tookMs = performance.now() - sentMs;
        const status = head.slice(9, 12);
        if (status === '200' || status === '201') run.good.push(tookMs);
        else if (status === '503') run.refused.push(tookMs);
        else run.other += 1;
        head = '';
        left = undefined;
        sentMs = undefined;
        if (!isOver) client.onIdle();
      });
      socket.on('connect', () => {
        resolve(client);
        client.onIdle();
      });
      socket.on('error', () => undefined);
      socket.on('close', () => {
        if (isOver) return;
        if (sentMs !== undefined) run.other += 1;
        setTimeout(dial, 10);
      });
    };
    dial();
  });
}

function percentiles(values) {
  const at = (percent) => percentile(values, percent);
  return { p50: at(50), p95: at(95), p99: at(99) };
}

if (!isMainThread) parentPort.postMessage(await send(workerData));
