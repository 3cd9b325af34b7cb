import { once } from 'node:events';
import { createServer, type IncomingMessage, request as httpRequest, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { createGzip, type Gzip, gzipSync } from 'node:zlib';
import type { Principal } from '../../auth/principal';
import { AppError } from '../../platform/errors/app-error';
import { writeProblem } from '../../platform/errors/problem';
import { newEventOf } from '../write/audit.service';
import { IngestBatch, type IngestParts, type LineReceipt, NdjsonIngest } from './ndjson-ingest';

const WRITER: Principal = {
  subject: 'alice',
  organizations: ['org-1'],
  scopes: new Set(['audit:write']),
  expiresAtMs: Infinity,
};
const LINE = '{"organizationId":"org-1","action":"a","status":"success"}\n';

let server: Server;
let parts: IngestParts;
/** Told of each body that is over, with what it failed with. */
let ended: Promise<unknown>[];

beforeEach(async () => {
  ended = [];
  parts = {
    stallTimeoutMs: 60_000,
    maxLines: 1000,
    maxLineBytes: 1024 * 1024,
    newBatch: () => new IngestBatch(WRITER, newEventOf),
    store: (batch) => Promise.resolve(batch.hasViolations ? batch.rejections() : created(batch)),
  };
  server = createServer((request, response) => {
    const run = new NdjsonIngest(response, parts).run();
    ended.push(run.catch((error: unknown) => error));
    run.catch((error: unknown) => writeProblem(error, request, response));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

/** What a store would answer that has room for everything. */
function created(batch: IngestBatch): LineReceipt[] {
  return batch.receiptsFor(
    batch.events.map(({ id }) => ({ id, sequence: '1', status: 'created', text: () => '' })),
  );
}

const portOf = () => (server.address() as AddressInfo).port;

function open(headers: Record<string, string> = {}) {
  const request = httpRequest({ port: portOf(), method: 'POST', headers, agent: false });
  request.on('error', () => undefined);
  return request;
}

async function send(body: string | Buffer, headers?: Record<string, string>) {
  const request = open(headers);
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let text = '';
  for await (const part of response) text += String(part);
  const lines = text.trimEnd().split('\n');
  const last = JSON.parse(lines.pop() ?? '{}') as Record<string, unknown>;
  return { status: response.statusCode, receipts: lines.map((line) => JSON.parse(line)), last };
}

it('answers a body of very many transactions', async () => {
  parts.maxLines = 1;
  const { receipts, last } = await send(LINE.repeat(30_000));
  expect(receipts).toHaveLength(30_000);
  expect(last).toEqual({ summary: { created: 30_000, duplicates: 0, rejected: 0 } });
}, 30_000);

it('does not read line breaks without end', async () => {
  const bomb = gzipSync(Buffer.alloc(200 * 1024 * 1024, '\n'));
  const { receipts, last } = await send(Buffer.concat([gzipSync(LINE), bomb, gzipSync(LINE)]), {
    'content-encoding': 'gzip',
  });
  const { line, ...refusal } = receipts.at(-1) as { line: number };
  expect(refusal).toMatchObject({ status: 'rejected', code: 'REQUEST_TOO_LARGE' });
  expect(line).toBeLessThan(300_000);
  expect(receipts).toHaveLength(2); // nothing of what stands behind
  expect(Object.keys(last)).toEqual(['summary']);
});

it('gives others a turn between the lines of one part', async () => {
  const turns: number[] = [];
  let isOver = false;
  const tick = (): void => {
    turns.push(performance.now());
    if (!isOver) setImmediate(tick);
  };
  parts.newBatch = () => {
    const batch = new IngestBatch(WRITER, newEventOf);
    const add = batch.add.bind(batch);
    batch.add = (line) => {
      const untilMs = performance.now() + 0.2;
      while (performance.now() < untilMs); // a line that takes a while
      return add(line);
    };
    return batch;
  };
  setImmediate(tick);
  await send(LINE.repeat(1000)); // a single part, 200 ms of work
  isOver = true;
  const gaps = turns.slice(1).map((at, index) => at - (turns[index] ?? at));
  expect(gaps.filter((gap) => gap > 5).length).toBeGreaterThan(5);
});

it('does not take a client for stalled whom the service makes wait', async () => {
  parts.stallTimeoutMs = 100;
  const { store } = parts;
  parts.store = async (batch, signal) => {
    await sleep(500);
    return store(batch, signal);
  };
  const request = open();
  request.write(LINE);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  request.end(LINE);
  let text = '';
  for await (const part of response) text += String(part);
  expect(text).toContain('"summary":{"created":2');
});

it('cuts a client that stops sending, and one that never reads its receipts', async () => {
  parts.stallTimeoutMs = 300;
  const silent = open();
  silent.write(LINE);
  const [response] = (await once(silent, 'response')) as [IncomingMessage];
  response.resume();
  await expect(once(response, 'end')).rejects.toThrow(/aborted/);

  const deaf = connect(portOf(), '127.0.0.1');
  deaf.pause();
  deaf.on('error', () => undefined);
  deaf.write('POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n');
  const part = LINE.repeat(1000);
  const chunk = `${part.length.toString(16)}\r\n${part}\r\n`;
  const fill = (): void => {
    while (!deaf.destroyed && deaf.write(chunk));
  };
  deaf.on('drain', fill);
  fill();
  while (ended.length < 2) await sleep(5);
  await Promise.all(ended);
  deaf.destroy();
});

it('tells the store when the client has left', async () => {
  let signalled: (reason: unknown) => void;
  const left = new Promise((resolve) => (signalled = resolve));
  parts.store = (_, signal) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        signalled(signal.reason);
        reject(signal.reason as Error);
      });
      request.destroy();
    });
  const request = open();
  request.write(LINE);
  expect(await left).toMatchObject({ code: 'CLIENT_CLOSED' });
  expect(await Promise.all(ended)).toEqual([undefined]);
});

describe('lines of which it cannot be told what became', () => {
  const unknown = new AppError('DATABASE_UNAVAILABLE', 'Away.', { retryAfterSeconds: 2 });

  it('have no receipt: the answer is a problem while it has not begun', async () => {
    parts.store = () => Promise.reject(unknown);
    const request = open();
    request.write(LINE); // and never an end
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    expect(response).toMatchObject({ statusCode: 503, headers: { 'retry-after': '2' } });
    request.destroy();
  });

  it('and break it off once it has', async () => {
    const { store } = parts;
    let batches = 0;
    parts.store = (batch, signal) => {
      batches += 1;
      return batches === 1 ? store(batch, signal) : Promise.reject(unknown);
    };
    const request = open();
    request.write(LINE);
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const [first] = (await once(response, 'data')) as [Buffer];
    expect(String(first)).toContain('"line":1');
    let rest = '';
    response.on('data', (part) => (rest += String(part)));
    request.write(LINE);
    await expect(once(response, 'end')).rejects.toThrow(/aborted/);
    expect(rest).toBe('');
  });
});

describe('lines that come one at a time, and never pause', () => {
  /** More would be sent in ten seconds: by then they are stored, or only wait for their sender to stop. */
  const MOST = 500;
  const EVERY_MS = 20;

  it.each(['identity', 'gzip'])('are stored while others follow (%s)', async (coding) => {
    const request = open({ 'content-encoding': coding });
    const body = coding === 'gzip' ? createGzip() : new PassThrough();
    body.pipe(request);
    let sent = 0;
    const sending = setInterval(() => {
      body.write(LINE);
      if (coding === 'gzip') (body as Gzip).flush();
      sent += 1;
      if (sent === MOST) body.end();
    }, EVERY_MS);
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const [first] = (await once(response, 'data')) as [Buffer];
    clearInterval(sending);
    expect(sent).toBeLessThan(MOST);
    const stored = String(first).trimEnd().split('\n').length;
    expect(stored).toBeGreaterThan(1); // they still share transactions
    body.end();
    let rest = '';
    for await (const part of response) rest += String(part);
    expect(rest).toContain(`{"summary":{"created":${sent},"duplicates":0,"rejected":0}}`);
  });
});
