import fc from 'fast-check';
import { SignJWT, type JWTPayload } from 'jose';
import type { AuthConfig } from '../platform/config/settings';
import { AppError } from '../platform/errors/app-error';
import { TokenVerifier } from './token-verifier';

const secret = 'a secret of the tests that is long enough';
const config: AuthConfig = { keys: { kind: 'secret', secret }, algorithms: ['HS256'] };
const nowSeconds = () => Math.floor(Date.now() / 1000);

/** A token with good claims but for those given; undefined leaves a claim out. */
function sign(claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}) {
  const payload = { sub: 'alice', exp: nowSeconds() + 600, ...claims } as JWTPayload;
  return new SignJWT(payload)
    .setProtectedHeader({ alg: 'HS256', ...header })
    .sign(new TextEncoder().encode(secret));
}

async function failureOf(verifier: TokenVerifier, authorization: string | undefined) {
  try {
    await verifier.verify(authorization);
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error(`Accepted: ${authorization}`);
}

async function expectInvalid(
  token: string,
  description: string,
  verifier = new TokenVerifier(config),
) {
  const error = await failureOf(verifier, `Bearer ${token}`);
  expect([error.code, error.detail]).toEqual(['UNAUTHENTICATED', description]);
  expect(error.headers['WWW-Authenticate']).toBe(
    `Bearer realm="audit-server", error="invalid_token", error_description="${description}"`,
  );
}

describe('TokenVerifier', () => {
  afterEach(() => jest.useRealTimers());

  const fakeClock = () =>
    jest.useFakeTimers({
      now: 1_800_000_000_000,
      doNotFake: ['nextTick', 'setImmediate', 'setTimeout', 'clearTimeout', 'queueMicrotask'],
    });

  describe('an Authorization header', () => {
    it.each([undefined, '', 'Basic YTpi', 'Token abc', 'Bearertoken', 'abc.def.ghi'])(
      'that is %p holds no bearer token, so the challenge names no error',
      async (authorization) => {
        const error = await failureOf(new TokenVerifier(config), authorization);
        expect(error.code).toBe('UNAUTHENTICATED');
        expect(error.headers['WWW-Authenticate']).toBe('Bearer realm="audit-server"');
      },
    );

    it.each(['Bearer', 'Bearer ', 'Bearer a b', 'Bearer a.b.c a.b.c', 'Bearer a\u00a0b'])(
      'that is %p does not hold exactly one',
      async (authorization) => {
        const error = await failureOf(new TokenVerifier(config), authorization);
        expect(error.detail).toBe('The Authorization header must hold exactly one bearer token.');
      },
    );

    it.each(['Bearer', 'bearer', 'BEARER', 'bEARER'])('may spell the scheme %s', async (scheme) => {
      const verifier = new TokenVerifier(config);
      const token = await sign();
      expect(await verifier.verify(`${scheme} ${token}`)).toMatchObject({ subject: 'alice' });
    });
  });

  describe('claims', () => {
    it('become the principal', async () => {
      const exp = nowSeconds() + 60;
      const claims = { exp, scope: 'audit:read  other', organizations: ['b', 'a', 'b'] };
      expect(await new TokenVerifier(config).verify(`Bearer ${await sign(claims)}`)).toEqual({
        subject: 'alice',
        scopes: new Set(['audit:read', 'other']),
        organizations: ['a', 'b'],
        expiresAtMs: exp * 1000,
      });
    });

    it('may leave out scope and organizations, which then are none', async () => {
      const principal = await new TokenVerifier(config).verify(`Bearer ${await sign()}`);
      expect(principal).toMatchObject({
        scopes: new Set(),
        organizations: [],
        namesNoOrganizations: true,
      });
    });

    it('mean all organizations when * is among them', async () => {
      const token = await sign({ organizations: ['a', '*'] });
      const principal = await new TokenVerifier(config).verify(`Bearer ${token}`);
      expect(principal.organizations).toBe('*');
    });

    it.each<[string, unknown]>([
      ['sub', undefined],
      ['sub', null],
      ['sub', ''],
      ['sub', 7],
      ['sub', 'x'.repeat(256)],
      ['sub', 'a\0b'],
      ['sub', 'a\ud800'],
      ['exp', undefined],
      ['exp', null],
      ['exp', '9999999999'],
      ['exp', true],
      ['exp', 1e300],
      ['nbf', '1'],
      ['nbf', null],
      ['scope', ['audit:read', 7]],
      ['scope', { 0: 'audit:read' }],
      ['scope', null],
      ['scp', null],
      ['organizations', ''],
      ['organizations', null],
      ['organizations', { '': {} }],
      ['organizations', { a: 'b' }],
      ['organizations', { length: 1, 0: 'a' }],
      ['organizations', ['a', 1]],
      ['organizations', ['']],
      ['organizations', ['*', '']],
      ['organizations', ['a\0']],
    ])('are refused when %s is %j', async (claim, value) => {
      await expectInvalid(
        await sign({ [claim]: value }),
        `The token has no usable ${claim} claim.`,
      );
    });

    it.each<[string, Partial<AuthConfig>, Record<string, unknown>]>([
      ['scope as a list', {}, { scope: ['audit:read'], organizations: ['o'] }],
      ['scp as a list (Okta)', {}, { scp: ['audit:read'], organizations: ['o'] }],
      ['scp as text (Entra)', {}, { scp: 'audit:read', organizations: ['o'] }],
      ['one organization as text', {}, { scope: 'audit:read', organizations: 'o' }],
      ['organizations by id (Keycloak)', {}, { scope: 'audit:read', organizations: { o: {} } }],
      [
        'URLs as names (Auth0)',
        {
          scopeClaims: [['permissions']],
          organizationClaims: [['https://example.com/organizations']],
        },
        { permissions: ['audit:read'], 'https://example.com/organizations': ['o'] },
      ],
      [
        'nested roles (Keycloak)',
        { scopeClaims: [['scope'], ['resource_access', 'audit.server', 'roles']] },
        {
          scope: 'openid',
          resource_access: { 'audit.server': { roles: ['audit:read'] } },
          organizations: ['o'],
        },
      ],
    ])('have %s', async (_, settings, claims) => {
      const verifier = new TokenVerifier({ ...config, ...settings });
      const { scopes, organizations } = await verifier.verify(`Bearer ${await sign(claims)}`);
      expect({ organizations, reads: scopes.has('audit:read') }).toEqual({
        organizations: ['o'],
        reads: true,
      });
    });

    it.each(['resource_access', 'resource_access.audit'])(
      'are none where a nested claim is missing (%s), also of the prototype',
      async (path) => {
        const organizationClaims = [path.split('.'), ['constructor', 'name']];
        const verifier = new TokenVerifier({ ...config, organizationClaims });
        const token = await sign({ organizations: ['o'], resource_access: undefined });
        expect((await verifier.verify(`Bearer ${token}`)).namesNoOrganizations).toBe(true);
      },
    );

    it('are held to the configured issuers and audiences', async () => {
      const verifier = new TokenVerifier({
        ...config,
        issuers: ['https://old', 'https://idp'],
        audiences: ['api', 'audit'],
      });
      const good = { iss: 'https://idp', aud: ['other', 'audit'] };
      for (const claims of [good, { ...good, aud: 'api' }, { ...good, iss: 'https://old' }]) {
        const principal = await verifier.verify(`Bearer ${await sign(claims)}`);
        expect(principal).toMatchObject({ subject: 'alice' });
      }
      for (const iss of ['https://idp/', '', undefined, ['https://idp']]) {
        const token = await sign({ ...good, iss });
        await expectInvalid(token, 'The token is from another issuer.', verifier);
      }
      for (const aud of ['other', [], undefined, null]) {
        const token = await sign({ ...good, aud });
        await expectInvalid(token, 'The token is for another audience.', verifier);
      }
    });

    it('are not told about before the signature was good', async () => {
      const [header, , signature] = (await sign()).split('.');
      const payload = Buffer.from('{"sub":"alice","exp":1}').toString('base64url');
      await expectInvalid([header, payload, signature].join('.'), 'The token is not valid.');
    });
  });

  describe('time', () => {
    it('is up at exp: not before, and without grace', async () => {
      fakeClock();
      const expiry = nowSeconds() + 10;
      const token = await sign({ exp: expiry });
      jest.setSystemTime(expiry * 1000 - 1);
      await new TokenVerifier(config).verify(`Bearer ${token}`);
      jest.setSystemTime(expiry * 1000);
      await expectInvalid(token, 'The token has expired.');
      jest.setSystemTime(expiry * 1000 + 3_600_000);
      await expectInvalid(token, 'The token has expired.');
    });

    it('is up for a cached token too', async () => {
      fakeClock();
      const verifier = new TokenVerifier(config);
      const expiry = nowSeconds() + 10;
      const token = await sign({ exp: expiry });
      await verifier.verify(`Bearer ${token}`);
      jest.setSystemTime(expiry * 1000 - 1);
      expect(verifier.verify(`Bearer ${token}`)).toMatchObject({ subject: 'alice' });
      jest.setSystemTime(expiry * 1000);
      await expectInvalid(token, 'The token has expired.', verifier);
    });

    it('starts at nbf, give or take the few seconds that clocks differ', async () => {
      fakeClock();
      const early = await sign({ nbf: nowSeconds() + 6 });
      await expectInvalid(early, 'The token is not valid yet.');
      const token = await sign({ nbf: nowSeconds() + 5 });
      await new TokenVerifier(config).verify(`Bearer ${token}`);
    });
  });

  describe('the cache', () => {
    it('answers a known token at once, with the very same principal', async () => {
      const verifier = new TokenVerifier(config);
      const token = await sign({ organizations: ['a'] });
      const first = verifier.verify(`Bearer ${token}`);
      expect(first).toBeInstanceOf(Promise);
      const principal = await first;
      expect(verifier.verify(`bearer   ${token}`)).toBe(principal);
      expect([principal, principal.organizations].every(Object.isFrozen)).toBe(true);
    });

    it('keeps no failures', async () => {
      fakeClock();
      const verifier = new TokenVerifier(config);
      const token = await sign({ nbf: nowSeconds() + 60 });
      await expectInvalid(token, 'The token is not valid yet.', verifier);
      jest.advanceTimersByTime(60_000);
      expect(await verifier.verify(`Bearer ${token}`)).toMatchObject({ subject: 'alice' });
    });
  });

  describe('whatever the header holds', () => {
    it('fails as UNAUTHENTICATED and in no other way', async () => {
      const verifier = new TokenVerifier(config);
      const part = fc.oneof(
        fc.string(),
        fc.string({ unit: 'binary' }),
        fc.json().map((text) => Buffer.from(text).toString('base64url')),
        fc.uint8Array().map((bytes) => Buffer.from(bytes).toString('base64url')),
        fc.constant(Buffer.from('{"alg":"HS256"}').toString('base64url')),
      );
      const authorization = fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.array(part, { maxLength: 5 }).map((parts) => `Bearer ${parts.join('.')}`),
      );
      await fc.assert(
        fc.asyncProperty(authorization, async (text) => {
          expect((await failureOf(verifier, text)).code).toBe('UNAUTHENTICATED');
        }),
        { numRuns: 500 },
      );
    });

    it('refuses a valid token with any one character changed, added or left out', async () => {
      const verifier = new TokenVerifier(config);
      const token = await sign({ organizations: ['org-1'] });
      await verifier.verify(`Bearer ${token}`);
      const characters = [
        ...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n',
      ];
      await fc.assert(
        fc.asyncProperty(
          fc.nat(token.length - 1),
          fc.constantFrom(...characters, ''),
          fc.boolean(),
          async (at, character, replace) => {
            const changed = token.slice(0, at) + character + token.slice(at + (replace ? 1 : 0));
            fc.pre(changed !== token);
            fc.pre(changed.trim() !== token);
            expect((await failureOf(verifier, `Bearer ${changed}`)).code).toBe('UNAUTHENTICATED');
          },
        ),
        { numRuns: 1000 },
      );
    });

    it('refuses the other spellings of the last character, though they decode to the same bytes', async () => {
      const token = await sign();
      const signature = token.slice(token.lastIndexOf('.') + 1);
      const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
      const bytes = Buffer.from(signature, 'base64url');
      const lookalikes = [...alphabet]
        .map((last) => signature.slice(0, -1) + last)
        .filter(
          (lookalike) =>
            lookalike !== signature && Buffer.from(lookalike, 'base64url').equals(bytes),
        );
      // 32 bytes are 42 characters and 4 bits: the last character has two bits to spare.
      expect(lookalikes).toHaveLength(3);
      for (const lookalike of lookalikes) {
        await expectInvalid(token.replace(signature, lookalike), 'The token is malformed.');
      }
    });
  });
});
