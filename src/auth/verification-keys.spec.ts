import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { mkdtemp, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TokenVerifier } from './token-verifier';
import { JwksUrlKeys } from './verification-keys';
import type { AuthConfig } from '../platform/config/settings';
import { AppError } from '../platform/errors/app-error';

interface Issuer {
  jwk: JWK;
  privateKey: CryptoKey;
  algorithm: string;
}

async function issuer(kid?: string, algorithm = 'ES256'): Promise<Issuer> {
  const { publicKey, privateKey } = await generateKeyPair(algorithm);
  const jwk = { ...(await exportJWK(publicKey)), ...(kid ? { kid } : {}) };
  return { jwk, privateKey, algorithm };
}

let serial = 0;
const verifiers: TokenVerifier[] = [];

function makeVerifier(config: AuthConfig): TokenVerifier {
  const verifier = new TokenVerifier(config);
  verifiers.push(verifier);
  return verifier;
}

// They look for their keys as long as these are away.
afterEach(() => {
  for (const verifier of verifiers.splice(0)) verifier.onModuleDestroy();
});

/** A token that differs from every other one, so that no cache answers for it. */
function sign({ jwk, privateKey, algorithm }: Issuer, sub = `user-${++serial}`) {
  return new SignJWT({ sub })
    .setProtectedHeader({ alg: algorithm, ...(jwk.kid ? { kid: jwk.kid } : {}) })
    .setExpirationTime('12h')
    .sign(privateKey);
}

async function outcomeOf(verifier: TokenVerifier, token: string): Promise<string> {
  try {
    await verifier.verify(`Bearer ${token}`);
    return 'accepted';
  } catch (error) {
    if (error instanceof AppError) return error.code;
    throw error;
  }
}

describe('JwksFileKeys', () => {
  let folder: string;
  let path: string;
  let verifier: TokenVerifier;
  let first: Issuer;
  let second: Issuer;

  const write = (...issuers: Issuer[]) =>
    writeFile(path, JSON.stringify({ keys: issuers.map(({ jwk }) => jwk) }));

  beforeEach(async () => {
    [first, second] = await Promise.all([issuer('key-1', 'EdDSA'), issuer('key-2', 'EdDSA')]);
    folder = await mkdtemp(join(tmpdir(), 'audit-jwks-'));
    path = join(folder, 'jwks.json');
    await write(first);
    verifier = makeVerifier({ keys: { kind: 'jwks-file', path }, algorithms: ['EdDSA'] });
  });

  it('goes on with the keys at hand while there is no file, up to an hour', async () => {
    expect(await outcomeOf(verifier, await sign(first))).toBe('accepted');
    await rm(path);
    expect(await outcomeOf(verifier, await sign(first))).toBe('accepted');
    expect(await outcomeOf(verifier, await sign(second))).toBe('AUTHENTICATION_UNAVAILABLE');
    const nowMs = performance.now();
    jest.spyOn(performance, 'now').mockImplementation(() => nowMs + 3_600_000);
    expect(await outcomeOf(verifier, await sign(first))).toBe('AUTHENTICATION_UNAVAILABLE');
  });

  afterEach(async () => {
    jest.restoreAllMocks();
    await rm(folder, { recursive: true });
  });

  it('sees a new key and the end of an old one when the file is replaced', async () => {
    expect(await outcomeOf(verifier, await sign(first))).toBe('accepted');
    expect(await outcomeOf(verifier, await sign(second))).toBe('UNAUTHENTICATED');
    await writeFile(`${path}.new`, JSON.stringify({ keys: [second.jwk] }));
    await rename(`${path}.new`, path);
    expect(await outcomeOf(verifier, await sign(second))).toBe('accepted');
    expect(await outcomeOf(verifier, await sign(first))).toBe('UNAUTHENTICATED');
  });

  it('reads again for an unknown key, after two seconds, when the change left no mark', async () => {
    const before = await stat(path);
    await utimes(path, before.atime, new Date(1_700_000_000_000));
    expect(await outcomeOf(verifier, await sign(first))).toBe('accepted');
    await write(second);
    await utimes(path, before.atime, new Date(1_700_000_000_000));
    expect(await outcomeOf(verifier, await sign(second))).toBe('UNAUTHENTICATED');
    const nowMs = performance.now();
    jest.spyOn(Date, 'now').mockReturnValue(Date.now() - 3_600_000); // the wall clock is set back meanwhile
    jest.spyOn(performance, 'now').mockImplementation(() => nowMs + 2_000);
    expect(await outcomeOf(verifier, await sign(second))).toBe('accepted');
  });

  it('trusts a known token for five minutes without looking at the file', async () => {
    const token = await sign(first);
    const nowMs = performance.now();
    const now = jest.spyOn(performance, 'now').mockReturnValue(nowMs);
    expect(await outcomeOf(verifier, token)).toBe('accepted');
    await write(second);
    now.mockReturnValue(nowMs + 299_999);
    expect(await outcomeOf(verifier, token)).toBe('accepted');
    now.mockReturnValue(nowMs + 300_000);
    expect(await outcomeOf(verifier, token)).toBe('UNAUTHENTICATED');
  });

  it.each(['', '{', '[]', '{"keys":{}}', 'null'])(
    'holds an outage while the file reads %p, and recovers when it is repaired',
    async (text) => {
      await writeFile(path, text);
      const token = await sign(first);
      expect(await outcomeOf(verifier, token)).toBe('AUTHENTICATION_UNAVAILABLE');
      await write(first);
      expect(await outcomeOf(verifier, token)).toBe('accepted');
    },
  );

  it('holds an outage while there is no file, and does not say where it looked', async () => {
    await rm(path);
    const error: unknown = await Promise.resolve(
      verifier.verify(`Bearer ${await sign(first)}`),
    ).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'AUTHENTICATION_UNAVAILABLE', retryAfterSeconds: 5 });
    expect((error as AppError).detail).not.toContain('jwks');
    await write(first);
    expect(await outcomeOf(verifier, await sign(first))).toBe('accepted');
  });
});

describe('JwksUrlKeys', () => {
  let server: Server;
  let url: string;
  let answer: (response: ServerResponse) => void;
  let fetches: number;
  let first: Issuer;
  let second: Issuer;

  const serve = (...issuers: Issuer[]) => {
    answer = (response) => response.end(JSON.stringify({ keys: issuers.map(({ jwk }) => jwk) }));
  };
  const verifierOf = (at = url) => {
    const config: AuthConfig = { keys: { kind: 'jwks-url', url: at }, algorithms: ['ES256'] };
    return makeVerifier(config);
  };
  const later = (milliseconds: number) => jest.advanceTimersByTime(milliseconds);
  const stepClock = (milliseconds: number) => jest.setSystemTime(Date.now() + milliseconds);

  beforeAll(async () => {
    [first, second] = await Promise.all([issuer('first'), issuer('second')]);
    server = createServer((_request, response) => {
      fetches += 1;
      answer(response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`;
  });

  beforeEach(() => {
    fetches = 0;
    serve(first);
    // Only what the two clocks read is ours: timers, network and promises are real.
    jest.useFakeTimers({
      doNotFake: [
        ...(['nextTick', 'queueMicrotask', 'setImmediate', 'clearImmediate'] as const),
        ...(['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] as const),
      ],
    });
  });

  afterEach(() => jest.useRealTimers());

  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  it('fetches the keys once for many tokens, and not before the first', async () => {
    const verifier = verifierOf();
    expect(fetches).toBe(0);
    const tokens = await Promise.all([sign(first), sign(first), sign(first)]);
    const outcomes = await Promise.all(tokens.map((token) => outcomeOf(verifier, token)));
    expect(outcomes).toEqual(['accepted', 'accepted', 'accepted']);
    expect(await outcomeOf(verifier, await sign(first))).toBe('accepted');
    expect(fetches).toBe(1);
  });

  it('accepts the new key after a rotation, and the old one no longer', async () => {
    const verifier = verifierOf();
    expect(await outcomeOf(verifier, await sign(first))).toBe('accepted');
    serve(second);
    later(2_000);
    expect(await outcomeOf(verifier, await sign(second))).toBe('accepted');
    expect(await outcomeOf(verifier, await sign(first))).toBe('UNAUTHENTICATED');
  });

  it('is asked at most every two seconds on account of unknown keys', async () => {
    const verifier = verifierOf();
    for (let attempt = 0; attempt < 20; attempt += 1) {
      expect(await outcomeOf(verifier, await sign(second))).toBe('UNAUTHENTICATED');
    }
    expect(fetches).toBe(1);
    later(2_000);
    for (let attempt = 0; attempt < 20; attempt += 1) {
      expect(await outcomeOf(verifier, await sign(second))).toBe('UNAUTHENTICATED');
    }
    expect(fetches).toBe(2);
  });

  it('stops trusting the tokens of a withdrawn key five minutes after the last fetch', async () => {
    const verifier = verifierOf();
    const token = await sign(first);
    await verifier.verify(`Bearer ${token}`);
    serve(second);
    later(200_000);
    const late = await sign(first);
    expect(await outcomeOf(verifier, late)).toBe('accepted');
    later(99_999);
    expect(verifier.verify(`Bearer ${token}`)).toMatchObject({ subject: `user-${serial - 1}` });
    later(1);
    expect(await outcomeOf(verifier, token)).toBe('UNAUTHENTICATED');
    expect(await outcomeOf(verifier, late)).toBe('UNAUTHENTICATED');
  });

  it.each([
    ['back', -3_600_000],
    ['ahead', 3_600_000],
  ])('fetches as before when the wall clock is set %s by an hour', async (_direction, step) => {
    const verifier = verifierOf();
    const known = await sign(first);
    expect(await outcomeOf(verifier, known)).toBe('accepted');
    stepClock(step);
    expect(await outcomeOf(verifier, await sign(second))).toBe('UNAUTHENTICATED');
    expect(fetches).toBe(1);
    serve(second);
    later(2_000);
    expect(await outcomeOf(verifier, await sign(second))).toBe('accepted');
    expect(fetches).toBe(2);
    later(300_000);
    expect(await outcomeOf(verifier, known)).toBe('UNAUTHENTICATED');
    expect(fetches).toBe(3);
  });

  it('asks a key server that was away again after a second, also when the wall clock is set back', async () => {
    answer = (response) => response.writeHead(503).end();
    const verifier = verifierOf();
    expect(await outcomeOf(verifier, await sign(first))).toBe('AUTHENTICATION_UNAVAILABLE');
    serve(first);
    stepClock(-3_600_000);
    later(1_000);
    expect(await outcomeOf(verifier, await sign(first))).toBe('accepted');
  });

  it('tries each key that could fit a token without a key id', async () => {
    const [one, other, stranger] = await Promise.all([issuer(), issuer(), issuer()]);
    serve(one, other);
    const verifier = verifierOf();
    expect(await outcomeOf(verifier, await sign(one))).toBe('accepted');
    expect(await outcomeOf(verifier, await sign(other))).toBe('accepted');
    expect(await outcomeOf(verifier, await sign(stranger))).toBe('UNAUTHENTICATED');
  });

  describe('in an outage', () => {
    const outages: [string, (response: ServerResponse) => void][] = [
      ['an error', (response) => response.writeHead(500).end('{"keys":[]}')],
      ['a redirect', (response) => response.writeHead(302, { location: url }).end()],
      ['a page', (response) => response.end('<html>')],
      ['no key set', (response) => response.end('{"keys":"none"}')],
      ['a broken connection', (response) => response.destroy()],
    ];

    it.each(outages)('that is %s, says so rather than 401, and recovers', async (_name, outage) => {
      answer = outage;
      const verifier = verifierOf();
      const token = await sign(first);
      const error: unknown = await Promise.resolve(verifier.verify(`Bearer ${token}`)).catch(
        (thrown: unknown) => thrown,
      );
      expect(error).toMatchObject({ code: 'AUTHENTICATION_UNAVAILABLE', retryAfterSeconds: 5 });
      expect((error as AppError).detail).not.toContain('127.0.0.1');
      expect((error as AppError).cause).toHaveProperty('message');
      serve(first);
      later(1_000);
      expect(await outcomeOf(verifier, token)).toBe('accepted');
    });

    it('asks again at most every second', async () => {
      answer = (response) => response.writeHead(503).end();
      const verifier = verifierOf();
      for (let attempt = 0; attempt < 10; attempt += 1) {
        later(150);
        expect(await outcomeOf(verifier, await sign(first))).toBe('AUTHENTICATION_UNAVAILABLE');
      }
      expect(fetches).toBe(2);
    });

    it('goes on with the keys at hand, and cannot tell about others', async () => {
      const verifier = verifierOf();
      expect(await outcomeOf(verifier, await sign(first))).toBe('accepted');
      answer = (response) => response.destroy();
      later(10_000);
      expect(await outcomeOf(verifier, await sign(second))).toBe('AUTHENTICATION_UNAVAILABLE');
      expect(await outcomeOf(verifier, await sign(first))).toBe('accepted');
    });

    it('verifies with known keys beyond their five minutes, until they are stale', async () => {
      const verifier = verifierOf();
      const known = await sign(first);
      expect(await outcomeOf(verifier, known)).toBe('accepted');
      answer = (response) => response.destroy();
      later(3_599_000);
      for (const token of [known, await sign(first)]) {
        expect(await outcomeOf(verifier, token)).toBe('accepted');
      }
      later(1_001);
      for (const token of [known, await sign(first)]) {
        expect(await outcomeOf(verifier, token)).toBe('AUTHENTICATION_UNAVAILABLE');
      }
    });

    it('lets no request but the first wait for a server that does not answer', async () => {
      const keys = new JwksUrlKeys(url, { timeoutMs: 50 });
      const find = () => keys.find({ alg: 'ES256', kid: 'first' }, { payload: '', signature: '' });
      await find();
      const held: ServerResponse[] = [];
      answer = (response) => held.push(response);
      later(300_000);
      await find();
      later(1_000);
      await find();
      expect(held).toHaveLength(1); // the second attempt is on its way
      for (const response of held) response.destroy();
    });

    it('that is a closed port, is told apart from a bad token', async () => {
      const verifier = verifierOf('http://127.0.0.1:1/jwks.json');
      expect(await outcomeOf(verifier, await sign(first))).toBe('AUTHENTICATION_UNAVAILABLE');
      expect(await outcomeOf(verifier, 'not.a.token')).toBe('UNAUTHENTICATED');
    });

    it('that is a server which never answers, waits for the time limit only', async () => {
      const held: ServerResponse[] = [];
      answer = (response) => held.push(response);
      const keys = new JwksUrlKeys(url, { timeoutMs: 50 });
      const outcome: unknown = await Promise.resolve(
        keys.find({ alg: 'ES256', kid: 'first' }, { payload: '', signature: '' }),
      ).catch((thrown: unknown) => thrown);
      expect(outcome).toMatchObject({ code: 'AUTHENTICATION_UNAVAILABLE' });
      for (const response of held) response.destroy();
    });
  });
});

describe('a key set behind a proxy', () => {
  it.each([
    [{ httpProxy: true }, 'accepted', 1],
    [{ httpProxy: true, noProxy: 'other.invalid, idp.invalid' }, 'AUTHENTICATION_UNAVAILABLE', 0],
    [{ httpsProxy: true }, 'AUTHENTICATION_UNAVAILABLE', 0],
  ])('of %j is fetched as these say', async (given, outcome, requests) => {
    const first = await issuer('first');
    const asked: unknown[] = [];
    const answer = (place: unknown, respond: (keys: string) => void) => {
      asked.push(place);
      respond(JSON.stringify({ keys: [first.jwk] }));
    };
    const proxy = createServer((request, response) =>
      answer(request.headers.host, (keys) => response.end(keys)),
    );
    proxy.on('connect', (request, socket: Socket) => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      socket.once('data', () =>
        answer(request.url?.replace(':80', ''), (keys) =>
          socket.end(
            `HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${keys.length}\r\n\r\n${keys}`,
          ),
        ),
      );
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    const { httpProxy, httpsProxy, noProxy } = {
      httpProxy: false,
      httpsProxy: false,
      noProxy: '',
      ...given,
    };
    const verifier = makeVerifier({
      keys: { kind: 'jwks-url', url: 'http://idp.invalid/jwks.json' },
      algorithms: ['ES256'],
      proxy: {
        noProxy,
        ...(httpProxy ? { httpProxy: url } : {}),
        ...(httpsProxy ? { httpsProxy: url } : {}),
      },
    });
    expect(await outcomeOf(verifier, await sign(first))).toBe(outcome);
    expect(asked).toEqual(Array(requests).fill('idp.invalid'));
    proxy.closeAllConnections();
    await new Promise((resolve) => proxy.close(resolve));
  });
});

describe('a secret that is rotated', () => {
  it('verifies beside the previous one, with which nothing else verifies', async () => {
    const [now, before, stranger] = ['n', 'b', 's'].map((letter) => letter.repeat(32));
    const verifier = makeVerifier({
      keys: { kind: 'secret', secret: now ?? '', previous: before },
      algorithms: ['HS256'],
    });
    const outcomes = [now, before, stranger].map(async (secret) => {
      const token = await new SignJWT({ sub: 'alice' })
        .setProtectedHeader({ alg: 'HS256' })
        .setExpirationTime('1h')
        .sign(Buffer.from(secret ?? ''));
      return outcomeOf(verifier, token);
    });
    expect(await Promise.all(outcomes)).toEqual(['accepted', 'accepted', 'UNAUTHENTICATED']);
  });
});
