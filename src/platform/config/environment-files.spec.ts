import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { CONFIGS } from './settings';
import { loadEnvironment, PACKAGE_ROOT, PROFILES, readEnvFile } from './load-environment';

const lines = readFileSync(join(PACKAGE_ROOT, 'config', 'default.env'), 'utf8').split('\n');
const assigned = lines.filter((line) => /^[A-Z]/.test(line)).map((line) => line.split('=')[0]);
const declared = CONFIGS.flatMap(({ variables }) => variables.map(({ name }) => name));

describe('config/default.env', () => {
  it('assigns every declared variable once and nothing else', () => {
    expect([...assigned].sort()).toEqual([...declared].sort());
    expect(new Set(assigned).size).toBe(assigned.length);
  });

  it.each(declared)('explains %s in one comment line of its own', (name) => {
    const at = lines.findIndex((line) => line.startsWith(`${name}=`));
    expect(lines[at - 1]).toMatch(/^# [^-].{20,}\.$/);
    expect(lines[at - 2]).not.toMatch(/^#/);
  });

  it('is parsed to what is written', () => {
    const written = lines
      .filter((line) => /^[A-Z]/.test(line))
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]);
    expect(readEnvFile('default')).toEqual(Object.fromEntries(written));
  });
});

describe.each(PROFILES)('config/%s.env', (profile) => {
  it('holds only known variables, and only values that differ', () => {
    const defaults = readEnvFile('default');
    for (const [name, value] of Object.entries(readEnvFile(profile))) {
      expect(declared).toContain(name);
      expect(`${name}=${value}`).not.toBe(`${name}=${defaults[name]}`);
    }
  });
});

describe('loadEnvironment', () => {
  it('prefers the real environment to the profile, and the profile to the defaults', () => {
    const environment = { NODE_ENV: 'staging', SLOW_REQUEST_THRESHOLD_MS: '7' };
    expect(loadEnvironment(environment).env).toMatchObject({
      SLOW_REQUEST_THRESHOLD_MS: '7',
      CONCURRENCY_MAX_REQUESTS: '100',
      CONCURRENCY_QUEUE_SIZE: '1000',
    });
  });

  it('takes an empty variable for one that is not set', () => {
    const environment = { NODE_ENV: '', CONCURRENCY_MAX_REQUESTS: '' };
    const { env, profile } = loadEnvironment(environment);
    expect(profile).toBe('development');
    expect(env.CONCURRENCY_MAX_REQUESTS).toBe('50');
  });

  it('reads process.env when it is called', () => {
    process.env.CACHE_KEY_PREFIX = 'late';
    try {
      expect(loadEnvironment().env.CACHE_KEY_PREFIX).toBe('late');
    } finally {
      delete process.env.CACHE_KEY_PREFIX;
    }
  });

  it.each(['prod', 'Production', 'production ', 'default', '../default'])(
    'refuses the profile %j',
    (name) => {
      expect(() => loadEnvironment({ NODE_ENV: name })).toThrow(
        `NODE_ENV="${name}": it must be one of development, staging, production, test`,
      );
    },
  );
});

describe('.env', () => {
  const file = join(mkdtempSync(join(tmpdir(), 'developer-file-')), '.env');
  const load = (text: string, environment: Record<string, string> = {}) => {
    writeFileSync(file, text);
    return loadEnvironment(environment, file);
  };
  afterAll(() => rmSync(dirname(file), { recursive: true }));

  it.each(['development', 'test'])('counts in the profile %s, after the files', (profile) => {
    const { env } = load('CACHE_KEY_PREFIX=mine\n# a comment\nLOG_LEVEL="debug"\n', {
      NODE_ENV: profile,
    });
    expect(env).toMatchObject({ CACHE_KEY_PREFIX: 'mine', LOG_LEVEL: 'debug' });
  });

  it.each(['staging', 'production'])('is not read in the profile %s', (profile) => {
    const { env } = load('CACHE_KEY_PREFIX=mine\nNODE_ENV=development\n', { NODE_ENV: profile });
    expect(env.CACHE_KEY_PREFIX).toBe('api_cache');
  });

  it('loses against the environment, of which empty variables count as unset', () => {
    const text = 'CACHE_KEY_PREFIX=mine\nPORT=4000\n';
    const { env } = load(text, { CACHE_KEY_PREFIX: 'real', PORT: '' });
    expect(env).toMatchObject({ CACHE_KEY_PREFIX: 'real', PORT: '4000' });
  });

  it('loses against the environment in the other form of a secret, too', () => {
    const secret = `${file}.secret`;
    writeFileSync(secret, 'postgres://of-file/audit\n');
    const url = 'postgres://real/audit';
    expect(load(`DATABASE_URL_FILE=${secret}`, { DATABASE_URL: url }).env.DATABASE_URL).toBe(url);
    expect(
      load('DATABASE_URL=postgres://mine/audit', { DATABASE_URL_FILE: secret }).env.DATABASE_URL,
    ).toBe('postgres://of-file/audit');
    expect(load(`DATABASE_URL_FILE=${secret}`).env.DATABASE_URL).toBe('postgres://of-file/audit');
  });

  it('has its typos reported as those of the other files', () => {
    expect(load('CACHE_TTL=3\nWHOLLY_UNKNOWN=1\n').findTypos()).toEqual([
      expect.stringMatching(/^CACHE_TTL is not a variable of this service, probably a typo/),
      expect.stringMatching(/^WHOLLY_UNKNOWN is not a variable of this service/),
    ]);
  });

  it('cannot select another profile', () => {
    expect(load('NODE_ENV=development\nPORT=4000').env.PORT).toBe('4000');
    expect(() => load('NODE_ENV=production\n')).toThrow(
      'NODE_ENV="production": it must be empty in .env: the environment selects the profile, which is development',
    );
  });

  it('may be absent, but must be readable', () => {
    expect(loadEnvironment({}, `${file}.absent`).env.PORT).toBe('3000');
    expect(() => loadEnvironment({}, dirname(file))).toThrow(
      /^\.env=.*: it must be a readable file/,
    );
  });

  it('is ignored by git, and has an example whose variables exist', () => {
    const ignored = readFileSync(join(PACKAGE_ROOT, '.gitignore'), 'utf8').split('\n');
    expect(ignored).toContain('.env');
    const example = readFileSync(join(PACKAGE_ROOT, '.env.example'), 'utf8');
    const named = [...example.matchAll(/^#? ?([A-Z][A-Z_]+)=/gm)].map(([, name]) => name);
    expect(named.length).toBeGreaterThan(2);
    for (const name of named) expect(declared).toContain(name);
  });
});

describe('production', () => {
  it('shows neither documentation nor details of health by default', () => {
    expect(loadEnvironment({ NODE_ENV: 'production' }).env).toMatchObject({
      DOCS_ENABLED: 'false',
      HEALTH_DETAILS: 'false',
      GRAPHQL_INTROSPECTION: 'false',
    });
  });
});
