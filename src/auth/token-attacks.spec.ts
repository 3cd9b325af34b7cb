import { createHmac, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  base64url,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  SignJWT,
  UnsecuredJWT,
  type CryptoKey,
  type JWK,
} from 'jose';
import { AppError } from '../platform/errors/app-error';
import { TokenVerifier } from './token-verifier';

const secret = 'a secret of the tests that is long enough';
const exp = Math.floor(Date.now() / 1000) + 600;
const claims = { sub: 'mallory', exp, scope: 'audit:read', organizations: ['*'] };

const encode = (value: unknown) => base64url.encode(JSON.stringify(value));

/** A token with any header at all, signed with HMAC-SHA-256. */
function forge(header: unknown, payload: unknown, key: string | Buffer = secret): string {
  const input = `${encode(header)}.${encode(payload)}`;
  return `${input}.${createHmac('sha256', key).update(input).digest('base64url')}`;
}

async function codeOf(verifier: TokenVerifier, token: string): Promise<string> {
  try {
    await verifier.verify(`Bearer ${token}`);
    return 'accepted';
  } catch (error) {
    if (error instanceof AppError) return error.code;
    throw error;
  }
}

describe('with a secret', () => {
  const verifier = new TokenVerifier({ keys: { kind: 'secret', secret }, algorithms: ['HS256'] });

  it('a well-made token is accepted, so the others below fail for their own fault', async () => {
    expect(await codeOf(verifier, forge({ alg: 'HS256' }, claims))).toBe('accepted');
  });

  it.each([
    'none',
    'None',
    'NONE',
    'nOnE',
    '',
    undefined,
    null,
    ['HS256'],
    'HS384',
    'hs256',
    'RS256',
  ])('refuses alg %p', async (alg) => {
    expect(await codeOf(verifier, forge({ alg }, claims))).toBe('UNAUTHENTICATED');
    expect(await codeOf(verifier, `${encode({ alg })}.${encode(claims)}.`)).toBe('UNAUTHENTICATED');
  });

  it('refuses unsecured tokens', async () => {
    const token = new UnsecuredJWT(claims).encode();
    for (const text of [token, token.slice(0, -1), `${token}AA`]) {
      expect(await codeOf(verifier, text)).toBe('UNAUTHENTICATED');
    }
  });

  it('does not let the configuration allow what does not suit the key', () => {
    const keys = { kind: 'secret' as const, secret };
    for (const algorithms of [['RS256'], ['none'], []]) {
      expect(() => new TokenVerifier({ keys, algorithms })).toThrow(/AUTH_ALGORITHMS/);
    }
  });

  it.each<[string, object]>([
    ['crit', { crit: ['exp'], exp }],
    ['crit with b64', { crit: ['b64'], b64: true }],
    ['an empty crit', { crit: [] }],
    ['b64: false', { b64: false }],
    ['b64: false, declared critical', { b64: false, crit: ['b64'] }],
    ['an embedded jwk', { jwk: { kty: 'oct', k: base64url.encode(secret) } }],
  ])('refuses a header with %s, though the signature is good', async (_name, parameters) => {
    const token = forge({ alg: 'HS256', ...parameters }, claims);
    expect(await codeOf(verifier, token)).toBe('UNAUTHENTICATED');
  });

  it.each([[[]], ['text'], [7], [null], [[claims]]])('refuses a payload of %p', async (payload) => {
    expect(await codeOf(verifier, forge({ alg: 'HS256' }, payload))).toBe('UNAUTHENTICATED');
  });

  it('refuses segments that are missing, doubled, swapped, padded or of another encoding', async () => {
    const token = forge({ alg: 'HS256' }, claims);
    const [header = '', payload = '', signature = ''] = token.split('.');
    const garbled = [
      `${header}.${payload}`,
      `${header}..${signature}`,
      `.${payload}.${signature}`,
      `${token}.${signature}`,
      `${token}.`,
      `.${token}`,
      `${payload}.${header}.${signature}`,
      `${header}.${payload}.${payload}`,
      `${token}=`,
      `${header}=.${payload}.${signature}`,
      `${token}\u0000`,
      `${header}.${payload}.${signature.replaceAll('-', '+').replaceAll('_', '/')}+`,
      `${token},${token}`,
      `"${token}"`,
      encodeURIComponent(`${header}.${payload}.${signature}`).replaceAll('.', '%2E'),
    ];
    for (const text of garbled) expect(await codeOf(verifier, text)).toBe('UNAUTHENTICATED');
  });

  it('refuses a token of more than 16 KiB, however well signed', async () => {
    const padding = (length: number) => ({ ...claims, padding: 'x'.repeat(length) });
    const large = forge({ alg: 'HS256' }, padding(12_000));
    const huge = forge({ alg: 'HS256' }, padding(12_300));
    expect([large.length <= 16_384, huge.length > 16_384]).toEqual([true, true]);
    expect(await codeOf(verifier, large)).toBe('accepted');
    expect(await codeOf(verifier, huge)).toBe('UNAUTHENTICATED');
    expect(await codeOf(verifier, 'x'.repeat(5_000_000))).toBe('UNAUTHENTICATED');
  });

  it('refuses another secret', async () => {
    const token = forge({ alg: 'HS256' }, claims, randomBytes(32));
    expect(await codeOf(verifier, token)).toBe('UNAUTHENTICATED');
  });
});

describe('with a key set', () => {
  let folder: string;
  let publicPem: string;
  let jwks: JWK[];
  const privateKeys = new Map<string, CryptoKey>();
  const octet = randomBytes(32);

  const verifierFor = (...algorithms: string[]) =>
    new TokenVerifier({ keys: { kind: 'jwks-file', path: join(folder, 'jwks.json') }, algorithms });
  const signed = (alg: string, kid?: string, header: object = {}) =>
    new SignJWT(claims)
      .setProtectedHeader({ alg, kid: kid ?? alg, ...header })
      .sign(privateKeys.get(alg) ?? octet);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'audit-jwks-'));
    jwks = [{ kty: 'oct', kid: 'octet', k: octet.toString('base64url'), alg: 'HS256' }];
    for (const alg of ['RS256', 'PS256', 'ES256', 'EdDSA']) {
      const pair = await generateKeyPair(alg, { extractable: true });
      privateKeys.set(alg, pair.privateKey);
      jwks.push({ ...(await exportJWK(pair.publicKey)), kid: alg, alg, use: 'sig' });
      if (alg === 'RS256') publicPem = await exportSPKI(pair.publicKey);
    }
    await writeFile(join(folder, 'jwks.json'), JSON.stringify({ keys: jwks }));
  });

  afterAll(() => rm(folder, { recursive: true }));

  it.each(['RS256', 'PS256', 'ES256', 'EdDSA'])('accepts %s when it is configured', async (alg) => {
    const token = await signed(alg);
    expect(await codeOf(verifierFor(alg), token)).toBe('accepted');
    const others = ['RS256', 'PS256', 'ES256', 'EdDSA'].filter((other) => other !== alg);
    expect(await codeOf(verifierFor(...others), token)).toBe('UNAUTHENTICATED');
  });

  it('never takes a public key for an HMAC secret', async () => {
    // Even a configuration that lists both kinds must not open this door.
    const verifier = verifierFor('RS256', 'HS256');
    expect(await codeOf(verifier, await signed('RS256'))).toBe('accepted');
    const modulus = jwks.find(({ kty }) => kty === 'RSA')?.n ?? '';
    const jwkText = JSON.stringify(jwks.find(({ kid }) => kid === 'RS256'));
    const keys = [
      publicPem,
      publicPem.trim(),
      `${publicPem.trim()}\n`,
      Buffer.from(modulus, 'base64url'),
      modulus,
      jwkText,
      '',
    ];
    for (const key of keys) {
      for (const kid of ['RS256', 'octet', undefined]) {
        const token = forge({ alg: 'HS256', kid }, claims, key);
        expect(await codeOf(verifier, token)).toBe('UNAUTHENTICATED');
      }
    }
  });

  it('never uses a symmetric key of the set', async () => {
    const token = forge({ alg: 'HS256', kid: 'octet' }, claims, octet);
    for (const algorithms of [['RS256'], ['RS256', 'HS256']]) {
      expect(await codeOf(verifierFor(...algorithms), token)).toBe('UNAUTHENTICATED');
    }
    expect(() => verifierFor('HS256')).toThrow(/AUTH_ALGORITHMS/);
  });

  it('refuses a token that brings its own key along', async () => {
    const mallory = await generateKeyPair('RS256', { extractable: true });
    const jwk = await exportJWK(mallory.publicKey);
    for (const header of [{ jwk }, { jwk, kid: 'RS256' }, { kid: 'RS256' }, {}]) {
      const token = await new SignJWT(claims)
        .setProtectedHeader({ alg: 'RS256', ...header })
        .sign(mallory.privateKey);
      expect(await codeOf(verifierFor('RS256'), token)).toBe('UNAUTHENTICATED');
    }
    expect(await codeOf(verifierFor('RS256'), await signed('RS256', 'RS256', { jwk }))).toBe(
      'UNAUTHENTICATED',
    );
  });

  it('refuses a key id of another key, of no key, and of no string', async () => {
    const verifier = verifierFor('RS256', 'ES256');
    for (const kid of ['ES256', 'unknown', '../RS256', '']) {
      expect(await codeOf(verifier, await signed('RS256', kid))).toBe('UNAUTHENTICATED');
    }
    const odd = await signed('RS256', 'x', { kid: ['RS256'] as unknown as string });
    expect(await codeOf(verifier, odd)).toBe('UNAUTHENTICATED');
  });

  it('refuses a signature moved from another token, for ECDSA also one of zeros', async () => {
    const [header, payload] = (await signed('ES256')).split('.');
    const [, , other] = (await signed('ES256', 'other')).split('.');
    const zeros = Buffer.alloc(64).toString('base64url');
    for (const signature of [other, zeros, 'AA']) {
      const token = [header, payload, signature].join('.');
      expect(await codeOf(verifierFor('ES256'), token)).toBe('UNAUTHENTICATED');
    }
  });
});
