import { once } from 'node:events';
import { connect } from 'node:net';
import { expectProblem } from '../support/problem';
import { sendRaw } from '../support/raw-http';
import { SocketStage, SUBPROTOCOL } from '../support/socket-stage';

const HANDSHAKE = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
  'sec-websocket-version': '13',
  'sec-websocket-protocol': SUBPROTOCOL,
};

let stage: SocketStage;

beforeAll(async () => {
  stage = await SocketStage.start();
});
afterAll(() => stage.service.stop());

describe('the socket', () => {
  it.each([
    ['no key', 'GET', 400, { 'sec-websocket-key': undefined }],
    ['a bad key', 'GET', 400, { 'sec-websocket-key': 'short' }],
    ['no version', 'GET', 400, { 'sec-websocket-version': undefined }],
    ['another version', 'GET', 400, { 'sec-websocket-version': '12' }],
    ['an unreadable subprotocol', 'GET', 400, { 'sec-websocket-protocol': `${SUBPROTOCOL},,` }],
    ['another method', 'POST', 405, {}],
  ])('refuses a handshake with %s, as everything else', async (_, method, status, changed) => {
    const all: Record<string, string | undefined> = { ...HANDSHAKE, ...changed };
    const lines = Object.entries(all).flatMap(([name, value]) =>
      value === undefined ? [] : [`${name}: ${value}`],
    );
    const head = [`${method} /graphql HTTP/1.1`, 'host: x', ...lines].join('\r\n');
    const [answer] = await sendRaw(stage.service.port, `${head}\r\n\r\n`);
    if (!answer) throw new Error('No answer');
    expectProblem(answer, status, status === 405 ? 'METHOD_NOT_ALLOWED' : 'VALIDATION_FAILED');
    expect(answer.headers.get('connection')).toBe('close');
    const told = status === 405 ? ['allow', 'GET'] : ['sec-websocket-version', '13'];
    expect(answer.headers.get(told[0] ?? '')).toBe(told[1]);
  });

  it('opens by the handshake that those differ from', async () => {
    const lines = Object.entries(HANDSHAKE).map(([name, value]) => `${name}: ${value}`);
    const head = ['GET /graphql HTTP/1.1', 'host: x', ...lines].join('\r\n');
    const socket = connect(stage.service.port, '127.0.0.1');
    socket.write(`${head}\r\n\r\n`);
    const [part] = (await once(socket, 'data')) as [Buffer];
    expect(part.toString()).toMatch(/^HTTP\/1\.1 101 /);
    socket.destroy();
  });
});
