import { decodeJwt } from 'jose';
import { SCOPES } from '../auth/principal';
import { TokenVerifier } from '../auth/token-verifier';
import type { AuthConfig } from '../platform/config/settings';
import { runTokenTool } from './token';

const config: AuthConfig = {
  keys: { kind: 'secret', secret: 'a secret of the tests that is long enough' },
  algorithms: ['HS512'],
  issuers: ['https://issuer'],
  audiences: ['audit', 'other'],
};

async function run(argv: string[], loadConfig = () => config) {
  const written = { out: '', err: '' };
  const exitCode = await runTokenTool(argv, loadConfig, {
    out: (text) => (written.out += text),
    err: (text) => (written.err += text),
  });
  return { exitCode, ...written };
}

async function claimsOf(...argv: string[]) {
  const { exitCode, out, err } = await run(argv);
  expect([exitCode, err]).toEqual([0, '']);
  expect(out).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/);
  return decodeJwt(out.trim());
}

describe('npm run token', () => {
  it('prints nothing but a token that the service accepts', async () => {
    const { out } = await run([]);
    const principal = await new TokenVerifier(config).verify(`Bearer ${out.trim()}`);
    expect(principal).toMatchObject({
      subject: 'developer',
      organizations: ['org-1'],
      scopes: new Set(SCOPES),
    });
    const hours = (principal.expiresAtMs - Date.now()) / 3_600_000;
    expect(Math.round(hours)).toBe(12);
  });

  it('says in the token what the options say', async () => {
    const argv = ['--sub', 'alice', '--organizations', 'org-2, org-1', '--scope'];
    const claims = await claimsOf(...argv, 'audit:read audit:write');
    expect(claims).toMatchObject({
      sub: 'alice',
      organizations: ['org-2', 'org-1'],
      scope: 'audit:read audit:write',
      iss: 'https://issuer',
      aud: 'audit',
    });
    expect(await claimsOf('--organizations', '*')).toMatchObject({ organizations: ['*'] });
    expect(await claimsOf('--scope', '')).toMatchObject({ scope: '' });
  });

  it('leaves issuer and audience out when none are configured', async () => {
    const { keys, algorithms } = config;
    const { out } = await run([], () => ({ keys, algorithms }));
    expect(Object.keys(decodeJwt(out.trim())).sort()).toEqual(
      ['exp', 'iat', 'organizations', 'scope', 'sub'].sort(),
    );
  });

  it.each([
    ['3600', 3600],
    ['90s', 90],
    ['30m', 1800],
    ['1h', 3600],
    ['7d', 604_800],
  ])('understands --expires-in %s', async (text, seconds) => {
    const { iat = 0, exp = 0 } = await claimsOf('--expires-in', text);
    expect(exp - iat).toBe(seconds);
  });

  it.each([
    [['--subject', 'alice'], /^Unknown option '--subject'/],
    [['alice'], /^Unexpected argument 'alice'/],
    [['--sub'], /--sub.* argument missing/],
    [['--sub', '--scope', 'audit:read'], /--sub.* argument is ambiguous/],
    [['--sub='], /^--sub wants/],
    [['--organizations', 'a,,b'], /^--organizations wants/],
    [['--scope', 'audit:read audit:delete'], /^--scope does not know 'audit:delete'/],
    [['--expires-in', 'soon'], /^--expires-in wants/],
    [['--expires-in', '0'], /^--expires-in wants/],
    [['--expires-in=-1h'], /^--expires-in wants/],
    [['--expires-in', '99999d'], /^--expires-in wants/],
    [['--help=no'], /--help.* does not take an argument/],
  ])('refuses %j with one clear line, the usage and exit code 2', async (argv, line) => {
    const { exitCode, out, err } = await run(argv);
    expect([exitCode, out]).toEqual([2, '']);
    expect(err).toMatch(line);
    expect(err.split('\n').slice(1, 3)).toEqual(['', 'Usage: npm run token -- [options]']);
  });

  it('shows the usage on --help', async () => {
    expect(await run(['--help'])).toMatchObject({ exitCode: 0, err: '' });
    expect((await run(['--help'])).out).toMatch(/^Usage: /);
  });

  it('cannot sign when tokens are verified with a key set', async () => {
    const keys = { kind: 'jwks-url' as const, url: 'https://issuer/jwks' };
    const { exitCode, out, err } = await run([], () => ({ keys, algorithms: ['RS256'] }));
    expect([exitCode, out]).toEqual([1, '']);
    expect(err).toMatch(/only its issuer can sign one/);
  });

  it('passes on what is wrong with the configuration', async () => {
    const broken = () => {
      throw new Error('AUTH_JWT_SECRET is too short');
    };
    expect(await run([], broken)).toEqual({
      exitCode: 1,
      out: '',
      err: 'AUTH_JWT_SECRET is too short\n',
    });
  });
});
