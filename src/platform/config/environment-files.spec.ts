import { readFileSync } from 'node:fs';
import { join } from 'node:path';
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
