import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { BodyMemoryLimiter } from '../../src/http/body-memory-limiter';
import { until } from '../integration/until.fixture';
import { answersIn } from '../support/raw-http';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const MB = 1024 * 1024;

let service: TestService;
let flood: string;
let quiet: string;
const sockets: Socket[] = [];

beforeAll(async () => {
  service = await TestService.start({ REQUEST_MAX_SIZE_MB: '10' });
  // So little that a few bodies fill it.
  Object.assign(service.provider(BodyMemoryLimiter).readQuota, {
    limit: 8 * MB,
    ownerLimit: 4 * MB,
  });
  flood = await tokenOf({ sub: 'flood' });
  quiet = await tokenOf({ sub: 'quiet' });
  for (const token of [flood, quiet]) await service.post(EVENTS, token, eventWith());
});

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await until(() => taken() === 0);
});

afterAll(() => service.stop());

const taken = () => service.provider(BodyMemoryLimiter).readQuota.taken;

/** Sends the head of a request and a part of its body, and then nothing more. */
async function stall(path: string, headers: string[], part: Buffer): Promise<() => Buffer> {
  const socket = connect(service.port, '127.0.0.1');
  sockets.push(socket);
  await once(socket, 'connect');
  let answer = Buffer.alloc(0);
  socket.on('data', (data: Buffer) => (answer = Buffer.concat([answer, data])));
  const head = [`POST ${path} HTTP/1.1`, 'Host: x', `Authorization: Bearer ${flood}`];
  const all = [...head, 'Content-Type: application/json', ...headers];
  socket.write(`${all.join('\r\n')}\r\n\r\n`);
  socket.write(part);
  return () => answer;
}

const chunked = (bytes: Buffer) =>
  Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);

describe('bodies of which the end does not come', () => {
  it('take no more than the quota of one sender, and refuse only its others', async () => {
    const part = chunked(Buffer.alloc(1.5 * MB, ' '));
    const stalled = () => stall(`${EVENTS}/bulk`, ['Transfer-Encoding: chunked'], part);
    await stalled();
    await stalled();
    await until(() => taken() === 3 * MB);
    const refused = await stalled();
    await until(() => refused().includes('\r\n\r\n{'));
    const [answer] = answersIn(refused());
    expect([answer?.status, answer?.json.code]).toEqual([503, 'TOO_MANY_REQUESTS']);
    expect(taken()).toBe(3 * MB);
    const event = eventWith({ outcomeDescription: 'x'.repeat(9000) });
    const events = Array.from({ length: 200 }, () => event);
    expect((await service.post(`${EVENTS}/bulk`, quiet, { events })).status).toBe(201);
    expect(taken()).toBe(3 * MB);
  });

  it('are not decompressed before it has', async () => {
    const body = gzipSync(Buffer.alloc(3 * MB, ' '));
    const headers = ['Content-Encoding: gzip', 'Content-Length: 1000000'];
    await stall(`${EVENTS}/bulk`, headers, body);
    await until(() => taken() === body.length);
  });

  it('are counted on the fast path, too, from the start', async () => {
    const headers = ['Content-Length: 500000'];
    for (let count = 0; count < 8; count += 1) await stall(EVENTS, headers, Buffer.from('{'));
    await until(() => taken() === 8 * 500_000);
    const large = eventWith({ metadata: { text: 'x'.repeat(200_000) } });
    expect((await service.post(EVENTS, flood, large)).status).toBe(503);
    expect((await service.post(EVENTS, quiet, large)).status).toBe(201);
    expect((await service.post(EVENTS, flood, eventWith())).status).toBe(201);
  });
});
