import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { ConfigError, type Variables } from './load-environment';
import { assertConfiguration, checkConfiguration } from './config.module';

const DATABASE = 'postgres://audit:hunter2@db/audit';
const PRODUCTION = {
  NODE_ENV: 'production',
  DATABASE_URL: DATABASE,
  AUTH_JWT_SECRET: 's'.repeat(32),
};

/** The lines of the ConfigError that an environment (development unless it says otherwise) leads to. */
function violationsOf(variables: Variables): string[] {
  try {
    checkConfiguration({ NODE_ENV: 'development', ...variables });
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n');
    throw error;
  }
}

describe('integers', () => {
  const refused = ['1e3', '0x10', ' 5', '5 ', '5.5', 'NaN', '-1', '+5', '05', '1_000', 'five', '∞'];

  it.each([...refused, '99999999999999999999', '4294967296'])('refuse %j', (value) => {
    expect(violationsOf({ CONCURRENCY_QUEUE_SIZE: value })).toEqual([
      `CONCURRENCY_QUEUE_SIZE=${JSON.stringify(value)}: it must be an integer from 0 to 1000000`,
    ]);
  });

  it('accept exactly the decimal digits of their range', () => {
    fc.assert(
      fc.property(fc.integer({ min: -10, max: 1_000_010 }), (value) => {
        const accepted = violationsOf({ CONCURRENCY_QUEUE_SIZE: String(value) }).length === 0;
        expect(accepted).toBe(value >= 0 && value <= 1_000_000);
      }),
      { examples: [[0], [-1], [1_000_000], [1_000_001]], numRuns: 30 },
    );
  });

  it.each(['0', '1', '65535'])('let PORT be %s', (value) => {
    expect(violationsOf({ PORT: value })).toEqual([]);
  });

  it('refuse a PORT beyond 65535', () => {
    expect(violationsOf({ PORT: '65536' })).toEqual([
      'PORT="65536": it must be an integer from 0 to 65535',
    ]);
  });
});

describe('every kind of variable', () => {
  it.each([
    ['CACHE_ENABLED', 'yes', 'be true or false'],
    ['CACHE_ENABLED', 'TRUE', 'be true or false'],
    ['STREAMING_SELF_AUDIT', '1', 'be true or false'],
    ['LOG_LEVEL', 'verbose', 'be one of fatal, error, warn, info, debug, trace, silent'],
    ['LOG_FORMAT', 'JSON', 'be one of json, pretty'],
    ['PARTITION_INTERVAL', 'weekly', 'be monthly'],
    ['HOST', 'http://x', 'be empty or an IP address or a host name'],
    ['HOST', '300.1.1.1 ', 'be empty or an IP address or a host name'],
    ['DATA_DIR', ' data', 'be a path without spaces at its ends'],
    ['AUTH_JWKS_FILE', 'keys.json ', 'be empty or a path without spaces at its ends'],
    ['AUTH_JWKS_FILE', '/no/such/file', 'be a readable file that holds a JSON Web Key Set'],
    ['METRICS_PORT', 'tcp://10.0.0.1:90', 'be empty or an integer from 0 to 65535'],
    ['METRICS_PORT', '3000', 'be empty or differ from PORT'],
    ['CORS_ORIGINS', 'console.example', 'be empty, . alone, or comma-separated origins'],
    ['CORS_ORIGINS', 'https://a.example/', 'be empty, . alone, or comma-separated origins'],
    ['CORS_ORIGINS', 'https://*.example', 'be empty, . alone, or comma-separated origins'],
    ['CORS_ORIGINS', 'https://a.example:x', 'be empty, . alone, or comma-separated origins'],
    ['CORS_ORIGINS', 'null', 'be empty, . alone, or comma-separated origins'],
    ['CORS_ORIGINS', '*,https://a.example', 'be empty, . alone, or comma-separated origins'],
    ['DATABASE_URL', 'mysql://db/audit', 'be empty or a URL of scheme postgres or postgresql'],
    ['DATABASE_URL', 'postgres:audit', 'be empty or a URL of scheme postgres or postgresql'],
    ['DATABASE_URL', 'postgres:///audit', 'be empty or a URL of scheme postgres or postgresql'],
    ['DATABASE_URL', 'postgres://db/a b', 'be empty or a URL of scheme postgres or postgresql'],
    ['REDIS_URL', 'http://cache', 'be empty or a URL of scheme redis or rediss'],
    ['AUTH_JWKS_URL', 'file:///keys', 'be empty or a URL of scheme http or https'],
    ['ALERT_WEBHOOK_URL', 'hooks', 'be empty or a URL of scheme http or https'],
    ['AUTH_ISSUER', 'a b', 'be empty or comma-separated texts without spaces'],
    ['AUTH_AUDIENCE', 'a b', 'be empty or comma-separated texts without spaces'],
    ['CACHE_KEY_PREFIX', 'a:b', 'be 1 to 64 letters, digits, underscores or hyphens'],
    ['CACHE_EXCLUDE_ENDPOINTS', '/a,b', 'be empty or comma-separated paths that start with /'],
    ['CACHE_DISABLE_PATTERNS', 'a,,b', 'be empty or comma-separated namespaces'],
    ['CACHE_TTL_OVERRIDES', 'a=0', 'be empty or comma-separated pattern=seconds'],
    ['CACHE_TTL_OVERRIDES', 'a:60', 'be empty or comma-separated pattern=seconds'],
    ['CACHE_TTL_OVERRIDES', 'a=86401', 'be empty or comma-separated pattern=seconds'],
    ['PAGINATION_MAX_LIMIT', '1001', 'be an integer from 1 to 1000'],
  ])('%s=%s is one fault', (name, value, allowed) => {
    const faults = violationsOf({ [name]: value });
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatch(
      new RegExp(`^${name}=".*": it must ${allowed.replaceAll('/', '\\/')}`),
    );
  });

  it.each([
    { DATABASE_URL: 'postgres://db' },
    { DATABASE_URL: 'postgresql:///audit?host=/run/postgresql' },
    { REDIS_URL: 'rediss://:p%40ss@cache:6380/1' },
    { HOST: '::' },
    { HOST: 'audit.internal' },
    { METRICS_PORT: '9090' },
    { PORT: '0', METRICS_PORT: '0' },
    { CORS_ORIGINS: '*' },
    { CORS_ORIGINS: 'https://a.example, http://localhost:5173, http://[::1]:8080, app://desk' },
    { CACHE_TTL_OVERRIDES: 'audit_events*=120, stats=5' },
    { CACHE_EXCLUDE_ENDPOINTS: '/health,/metrics' },
  ])('accepts %j', (variables) => {
    expect(violationsOf(variables)).toEqual([]);
  });
});

describe('cross-checks', () => {
  it('refuses embedded PostgreSQL in production', () => {
    expect(violationsOf({ ...PRODUCTION, DATABASE_URL: '' })).toEqual([
      'DATABASE_URL is not set: it must be a URL of scheme postgres or postgresql; embedded PostgreSQL is refused in production',
    ]);
    expect(violationsOf({ NODE_ENV: 'staging', AUTH_JWT_SECRET: 's'.repeat(32) })).toEqual([]);
  });

  it('accepts a complete production environment', () => {
    expect(violationsOf(PRODUCTION)).toEqual([]);
  });

  it('refuses a pool minimum above the maximum', () => {
    expect(violationsOf({ DATABASE_POOL_MIN: '11' })).toEqual([
      'DATABASE_POOL_MIN="11": it must be at most DATABASE_POOL_MAX, which is 10',
    ]);
    expect(violationsOf({ DATABASE_POOL_MIN: '10' })).toEqual([]);
  });

  it('refuses replicas of the embedded PostgreSQL', () => {
    const [fault] = violationsOf({ DATABASE_REPLICA_URLS: DATABASE });
    expect(fault).toContain('embedded PostgreSQL has no replicas');
    expect(violationsOf({ DATABASE_REPLICA_URLS: DATABASE, DATABASE_URL: DATABASE })).toEqual([]);
  });
});

describe('authentication', () => {
  const folder = mkdtempSync(join(tmpdir(), 'auth-config-'));
  const keySet = join(folder, 'keys.json');
  const notKeySet = join(folder, 'other.json');
  writeFileSync(keySet, '{"keys":[]}');
  writeFileSync(notKeySet, 'null');
  afterAll(() => rmSync(folder, { recursive: true }));
  const url = 'https://issuer/keys';

  it.each(['production', 'staging'])('requires keys in %s', (profile) => {
    expect(violationsOf({ NODE_ENV: profile, DATABASE_URL: DATABASE })).toEqual([
      `AUTH_JWT_SECRET is not set: it must be set in ${profile} to at least 32 bytes, unless AUTH_JWKS_URL or AUTH_JWKS_FILE is`,
    ]);
    const keys = { NODE_ENV: profile, DATABASE_URL: DATABASE, AUTH_JWKS_URL: url };
    expect(violationsOf(keys)).toEqual([]);
  });

  it.each(['production', 'staging'])('requires 32 bytes of secret in %s', (profile) => {
    const short = { ...PRODUCTION, NODE_ENV: profile, AUTH_JWT_SECRET: 'hunter2'.repeat(4) };
    expect(violationsOf(short)).toEqual([
      `AUTH_JWT_SECRET="****": it must have at least 32 bytes in ${profile}`,
    ]);
    expect(violationsOf({ ...short, AUTH_JWT_SECRET: 'é'.repeat(16) })).toEqual([]);
  });

  it.each(['development', 'test'])('accepts a short secret, or none, in %s', (profile) => {
    expect(violationsOf({ NODE_ENV: profile, AUTH_JWT_SECRET: 'x' })).toEqual([]);
    expect(violationsOf({ NODE_ENV: profile })).toEqual([]);
  });

  it('refuses more than one source of keys', () => {
    const faults = violationsOf({
      AUTH_JWT_SECRET: 'hunter2',
      AUTH_JWKS_URL: url,
      AUTH_JWKS_FILE: keySet,
    });
    expect(faults.map((line) => line.split('=')[0])).toEqual(['AUTH_JWKS_URL', 'AUTH_JWKS_FILE']);
    expect(faults[0]).toContain('be empty while AUTH_JWT_SECRET is set');
  });

  it('refuses a key set file that holds no key set', () => {
    expect(violationsOf({ AUTH_JWKS_FILE: keySet })).toEqual([]);
    expect(violationsOf({ AUTH_JWKS_FILE: notKeySet })).toHaveLength(1);
  });

  it.each(['none', 'None', 'HS1', 'hs256', 'RS256,none', 'RS256,', 'HS256 RS256', 'RSA256'])(
    'refuses the algorithms %j',
    (algorithms) => {
      const [fault] = violationsOf({ AUTH_JWKS_URL: url, AUTH_ALGORITHMS: algorithms });
      expect(fault).toMatch(/^AUTH_ALGORITHMS=.*be empty or a comma-separated list of HS256/);
    },
  );

  it.each([
    { AUTH_JWT_SECRET: 'x', AUTH_ALGORITHMS: 'HS256,RS256' },
    { AUTH_ALGORITHMS: 'ES256' },
    { AUTH_JWKS_URL: url, AUTH_ALGORITHMS: 'RS256,HS256' },
    { AUTH_JWKS_FILE: keySet, AUTH_ALGORITHMS: 'HS512' },
  ])('refuses key confusion: %j', (variables) => {
    const faults = violationsOf(variables);
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatch(/^AUTH_ALGORITHMS=.*hold only algorithms that suit/);
  });

  it.each([
    { AUTH_JWT_SECRET: 'x', AUTH_ALGORITHMS: 'HS256,HS384, HS512' },
    { AUTH_JWKS_URL: url, AUTH_ALGORITHMS: 'RS256,PS512,ES384,EdDSA,Ed25519' },
  ])('accepts %j', (variables) => {
    expect(violationsOf(variables)).toEqual([]);
  });
});

describe('the report', () => {
  it('holds the faults of all concerns, one line each, NODE_ENV included', () => {
    const faults = violationsOf({
      NODE_ENV: 'prod',
      PORT: 'x',
      HOST: 'a b',
      DATABASE_POOL_MAX: '0',
      LOG_LEVEL: 'multi\nline',
    });
    expect(faults.map((line) => line.split('=')[0])).toEqual([
      'NODE_ENV',
      'PORT',
      'HOST',
      'DATABASE_POOL_MAX',
      'LOG_LEVEL',
    ]);
  });

  it('does not show passwords, secrets or the path of the webhook', () => {
    const faults = violationsOf({
      NODE_ENV: 'staging',
      AUTH_JWT_SECRET: 'hunter2',
      DATABASE_URL: 'mysql://audit:hunter2@db/audit',
      DATABASE_REPLICA_URLS: 'postgres://a:hunter2@x,mysql://b:hunter2@y',
      REDIS_URL: 'postgres://:hunter2@cache',
      AUTH_JWKS_URL: 'ftp://u:hunter2@issuer',
      ALERT_WEBHOOK_URL: 'ftp://hooks/hunter2',
    });
    expect(faults).toHaveLength(6);
    expect(faults.join('\n')).not.toContain('hunter2');
    expect(faults.join('\n')).toContain('mysql://audit:****@db/audit');
  });

  it('refuses a raw percent sign in a password, which the client could not decode', () => {
    expect(violationsOf({ DATABASE_URL: 'postgres://u:50%@db/audit' })).toHaveLength(1);
  });

  it('cuts long values', () => {
    expect(violationsOf({ LOG_LEVEL: 'x'.repeat(10_000) })[0].length).toBeLessThan(300);
  });
});

describe('assertConfiguration', () => {
  const before = { ...process.env };
  afterEach(() => {
    process.env = { ...before };
    jest.restoreAllMocks();
  });

  function run(variables: Variables): { printed: string; exit: jest.SpyInstance } {
    Object.assign(process.env, variables);
    const written = jest.spyOn(process.stderr, 'write').mockReturnValue(true);
    const exit = jest.spyOn(process, 'exit').mockReturnValue(undefined as never);
    assertConfiguration();
    return { printed: written.mock.calls.map(([text]) => String(text)).join(''), exit };
  }

  it('prints the faults and ends with status 1', () => {
    const { printed, exit } = run({ PORT: 'x', LOG_FORMAT: 'xml' });
    expect(printed.split('\n')).toEqual([
      'The configuration is not valid:',
      'PORT="x": it must be an integer from 0 to 65535',
      'LOG_FORMAT="xml": it must be one of json, pretty',
      '',
    ]);
    expect(exit).toHaveBeenCalledWith(1);
  });

  it('names the misspelt variable beside the one that is missing', () => {
    const { printed } = run({
      ...PRODUCTION,
      AUTH_JWT_SECRET: '',
      AUTH_JWT_SECRT: PRODUCTION.AUTH_JWT_SECRET,
    });
    expect(printed).toContain('AUTH_JWT_SECRET is not set: it must be set in production');
    expect(printed).toMatch(/^Warning: AUTH_JWT_SECRT is not .*the nearest is AUTH_JWT_SECRET$/m);
    expect(printed).not.toContain(PRODUCTION.AUTH_JWT_SECRET);
  });

  it('prints typos and goes on', () => {
    const { printed, exit } = run({ CACHE_ENABLE: 'true' });
    expect(printed).toMatch(/^Warning: CACHE_ENABLE is not a variable of this service/);
    expect(exit).not.toHaveBeenCalled();
  });
});
