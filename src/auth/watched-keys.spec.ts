import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import { until } from '../../test/integration/until.fixture';
import { keysUnavailable } from './challenge';
import { ConditionalFetch, type VerificationKeys } from './verification-keys';
import { WatchedKeys } from './watched-keys';

const INTERVAL_MS = 5;
const HEADER = { alg: 'ES256', kid: 'k' };
const INPUT = { payload: '', protected: '', signature: '' };
const jwk = (kid: string) => ({ kty: 'oct', kid });

/** A source whose keys, and whose absence, are the spec's. */
class Source implements VerificationKeys {
  keys = [jwk('a'), jwk('b')];
  isAway = false;
  looks = 0;
  finds = 0;

  find: JWTVerifyGetKey = () => {
    this.finds += 1;
    return Promise.reject(new errors.JWKSNoMatchingKey());
  };

  trustedUntilMs(): number {
    return Infinity;
  }

  refresh(): Promise<JSONWebKeySet> {
    this.looks += 1;
    return this.isAway
      ? Promise.reject(keysUnavailable('away'))
      : Promise.resolve({ keys: this.keys });
  }
}

let source: Source;
let keys: WatchedKeys;
let changes: boolean[];
let areNeeded: boolean;

beforeEach(() => {
  source = new Source();
  changes = [];
  areNeeded = true;
  keys = new WatchedKeys(source, INTERVAL_MS, 300_000, {
    exist: () => areNeeded,
    onChange: (isOutage) => changes.push(isOutage),
  });
});

afterEach(() => {
  keys.stop();
  areNeeded = false;
  jest.restoreAllMocks();
});

const ask = async () => expect(keys.find(HEADER, INPUT)).rejects.toThrow(errors.JWKSNoMatchingKey);
const looked = async (times: number) => {
  const after = source.looks + times;
  await until(() => source.looks >= after);
};

it('is told of changed keys, not of the same ones in another order', async () => {
  await ask();
  await until(() => changes.length === 1); // the first look may differ from what verified before
  source.keys = [jwk('b'), jwk('a')];
  await looked(3);
  expect(changes).toEqual([false]);
  source.keys = [jwk('a')];
  await until(() => changes.length === 2);
  await looked(3);
  expect(changes).toEqual([false, false]);
});

it('leaves a source alone on which nothing depends', async () => {
  areNeeded = false;
  await ask();
  await until(() => changes.length === 1);
  await ask(); // and begins anew
  await until(() => changes.length === 2);
  expect(source.looks).toBe(2);
});

it('lets known keys hold for a time in an outage, and no longer', async () => {
  await ask();
  await until(() => changes.length === 1);
  source.isAway = true;
  await looked(3);
  expect(changes).toEqual([false]);
  const nowMs = performance.now();
  const passed = jest.spyOn(performance, 'now').mockReturnValue(nowMs + 299_000);
  await looked(3);
  expect(changes).toEqual([false]);
  passed.mockReturnValue(nowMs + 300_001);
  await until(() => changes.length > 1);
  expect(changes.slice(1).every((isOutage) => isOutage)).toBe(true);
});

it('goes on looking in an outage, until the source is back', async () => {
  await ask();
  await until(() => changes.length === 1);
  source.isAway = true;
  await until(() => keys.isAway);
  areNeeded = false;
  await looked(2);
  expect(keys.ageSeconds).toBeGreaterThan(0);
  source.isAway = false;
  await until(() => !keys.isAway);
});

it('looks at once for a key that came behind the last look, but not for each stranger', async () => {
  await ask();
  await looked(1);
  keys.stop();
  const before = { ...source };
  await ask();
  expect(source.finds - before.finds).toBe(2);
  expect(source.looks - before.looks).toBe(1);
  await ask();
  expect(source.finds - before.finds).toBe(3);
  expect(source.looks - before.looks).toBe(1);
});

it.each([
  [{ etag: '"1"' }, 'if-none-match', '"1"'],
  [
    { 'last-modified': 'Sun, 29 Nov 2026 10:00:00 GMT' },
    'if-modified-since',
    'Sun, 29 Nov 2026 10:00:00 GMT',
  ],
])(
  'asks only for what is newer, where the server says what is (%j)',
  async (given, name, value) => {
    const set = JSON.stringify({ keys: [jwk('a')] });
    const asked: unknown[] = [];
    const server = createServer((request, response) => {
      asked.push(request.headers[name]);
      if (request.headers[name] === value) return response.writeHead(304).end();
      return response.writeHead(200, given).end(set);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const { fetch } = new ConditionalFetch();
    const get = async () => {
      const signal = AbortSignal.timeout(10_000);
      const answer = await fetch(url, {
        ...{ headers: new Headers(), method: 'GET', redirect: 'manual', signal },
      });
      expect(answer.status).toBe(200);
      const keySet = (await answer.json()) as JSONWebKeySet;
      expect(() => createLocalJWKSet(keySet)).not.toThrow();
      return JSON.stringify(keySet);
    };
    expect([await get(), await get()]).toEqual([set, set]);
    expect(asked).toEqual([undefined, value]);
    server.close();
  },
);
