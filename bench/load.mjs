// The load of the benchmarks: keep-alive connections, each with one request under way, over plain sockets. It shares the
// cores with what it measures, so that it must cost little: a fifth of what autocannon takes for a response.
import { connect } from 'node:net';

const SECONDS = Number(process.env.BENCH_SECONDS ?? 3);
export const HEAD_END = '\r\n\r\n';
const CHUNKS_END = '\r\n0\r\n\r\n';

/**
 * A load of SECONDS; responses a second. Any status but 2xx is a failure of the benchmark. Of several bodies, each
 * request has the next one.
 */
export async function load({ url, connections, method = 'GET', headers = {}, body, seconds }) {
  const requests = [body].flat().map((one) => requestBytes(url, method, headers, one));
  const durationMs = (seconds ?? SECONDS) * 1000;
  const run = { responses: 0, sent: 0, isOver: false };
  const nextRequest = () => requests[run.sent++ % requests.length];
  const clients = Array.from({ length: connections }, () => client(url, nextRequest, run));
  const startedMs = performance.now();
  const timer = setTimeout(() => (run.isOver = true), durationMs);
  try {
    await Promise.all(clients);
  } finally {
    run.isOver = true;
    clearTimeout(timer);
  }
  return (run.responses * 1000) / (performance.now() - startedMs);
}

/** A request as it goes over the wire. */
export function requestBytes(url, method, headers, body) {
  const { host, pathname, search } = new URL(url);
  const length = body === undefined ? [] : [`Content-Length: ${Buffer.byteLength(body)}`];
  const lines = [
    `${method} ${pathname}${search} HTTP/1.1`,
    `Host: ${host}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ...length,
  ];
  return Buffer.from(`${lines.join('\r\n')}${HEAD_END}${body ?? ''}`);
}

/** One connection; resolves once the load is over and its last response has come. */
function client(url, nextRequest, run) {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    let left; // bytes of the body that are still to come; undefined before the head, Infinity for chunks
    let start = '';
    const fail = (error) => {
      socket.destroy();
      reject(error);
    };
    const next = () => {
      run.responses += 1;
      left = undefined;
      start = '';
      if (!run.isOver) return socket.write(nextRequest());
      socket.destroy();
      resolve();
    };
    socket.on('data', (chunk) => {
      if (left === undefined) {
        start += chunk.latin1Slice();
        const at = start.indexOf(HEAD_END);
        if (at === -1) return;
        if (!start.startsWith('HTTP/1.1 2')) return fail(new Error(`${url}: ${start}`));
        const length = /\r\ncontent-length: *(\d+)/i.exec(start.slice(0, at));
        left = length ? Number(length[1]) - (start.length - at - HEAD_END.length) : Infinity;
      } else if (left !== Infinity) {
        left -= chunk.length;
      } else {
        start = start.slice(-CHUNKS_END.length) + chunk.latin1Slice();
      }
      if (left === 0 || (left === Infinity && start.endsWith(CHUNKS_END))) next();
    });
    socket.on('error', fail);
    socket.on('close', () => fail(new Error(`${url}: the connection was closed`)));
    socket.on('connect', () => socket.write(nextRequest()));
  });
}
