import { checkConfiguration } from './config.module';
import { editDistance, findProbableTypos } from './unknown-variables';

describe('editDistance', () => {
  it.each([
    ['CACHE', 'CACHE', 0],
    ['CACHE', 'CASHE', 1],
    ['', 'CACHE', 5],
    ['kitten', 'sitting', 3],
  ])('from %s to %s is %d', (from, to, distance) => {
    expect(editDistance(from, to)).toBe(distance);
  });
});

function warningsOf(...names: string[]): string[] {
  const env = Object.fromEntries(names.map((name) => [name, 'hunter2']));
  return checkConfiguration({ ...env, NODE_ENV: 'development' }).warnings;
}

describe('the report of probable typos', () => {
  it('names every unknown name of our own files, however short', () => {
    const names = ['POTR', 'HOTS', 'REDIS_PORT'];
    expect(findProbableTypos(names, ['PORT', 'REDIS_URL'], ['POTR', 'REDIS_PORT'])).toEqual([
      'POTR is not a variable of this service, probably a typo; the nearest is PORT',
      expect.stringMatching(/^REDIS_PORT is not a variable of this service/),
    ]);
  });

  it.each([
    ['CACHE_DEFAULT_TTL_SECOND', 'CACHE_DEFAULT_TTL_SECONDS'],
    ['AUTH_JWT_SECRETS', 'AUTH_JWT_SECRET'],
    ['PAGINATION_LIMIT_MAX', 'PAGINATION_MAX_LIMIT'],
    ['STREAMING_CHUNKSIZE', 'STREAMING_CHUNK_SIZE'],
    ['CONCURRENCY_MAX_REQUEST', 'CONCURRENCY_MAX_REQUESTS'],
    ['REQUEST_TIMEOUT', 'REQUEST_TIMEOUT_MS'],
    ['BULK_MAX_EVENT', 'BULK_MAX_EVENTS'],
    ['MONITORING_ENABLE', 'MONITORING_ENABLED'],
    ['DATABASE_URI', 'DATABASE_URL'],
    ['PARTITION_PRE_CREATE', 'PARTITION_PRECREATE'],
    ['RETENTION_DAY', 'RETENTION_DAYS'],
    ['LOG_LEVLE', 'LOG_LEVEL'],
    ['REDIS_URI', 'REDIS_URL'],
    ['CONCURENCY_QUEUE_SIZE', 'CONCURRENCY_QUEUE_SIZE'],
    ['CACHE_TTL', 'CACHE_TTL_OVERRIDES'],
    ['METRICSPORT', 'METRICS_PORT'],
  ])('names the nearest of %s', (name, nearest) => {
    expect(warningsOf(name)).toEqual([
      `${name} is not a variable of this service, probably a typo; the nearest is ${nearest}`,
    ]);
  });

  it('never shows a value and does not stop the start', () => {
    expect(warningsOf('AUTH_SECRET').join()).not.toContain('hunter2');
  });

  it.each([
    'REDIS_SERVICE_HOST',
    'REDIS_SERVICE_PORT',
    'REDIS_SERVICE_PORT_CLIENT',
    'REDIS_PORT',
    'REDIS_PORT_6379_TCP',
    'REDIS_PORT_6379_TCP_ADDR',
    'DATABASE_PORT_5432_TCP_PROTO',
    'DATABASE_SERVICE_HOST',
    'CACHE_DIRECTORY',
    'MEMORY_PRESSURE_WATCH',
    'MEMORY_AVAILABLE',
    'PATH',
    'HOSTNAME',
    'TEST_DATABASE_URL',
    'TEST_REDIS_URL',
    'PGDATA',
    'NODE_ENV',
    'NODE_OPTIONS',
    'NODE_EXTRA_CA_CERTS',
    'npm_config_loglevel',
  ])('leaves %s alone', (name) => {
    expect(warningsOf(name)).toEqual([]);
  });

  it('sorts the names and skips the known ones', () => {
    const typos = findProbableTypos(['CACHE_Z', 'CACHE_URL', 'CACHE_A'], ['CACHE_URL']);
    expect(typos.map((line) => line.split(' ')[0])).toEqual(['CACHE_A', 'CACHE_Z']);
  });
});
