import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { Inject, Injectable, Module } from '@nestjs/common';
import { type ConfigType } from '@nestjs/config';
import { Test } from '@nestjs/testing';
import {
  auditConfig,
  authConfig,
  cacheConfig,
  concurrencyConfig,
  databaseConfig,
  loggingConfig,
  monitoringConfig,
  paginationConfig,
  redisConfig,
  serverConfig,
  streamingConfig,
} from './settings';
import {
  ConfigError,
  loadEnvironment,
  PACKAGE_ROOT,
  PROFILES,
  type Variables,
} from './load-environment';
import { ConfigModule } from './config.module';

const dataDir = mkdtempSync(join(tmpdir(), 'config-module-'));
afterAll(() => rmSync(dataDir, { recursive: true }));

const SECRET = 's'.repeat(32);
const URL_OF_DATABASE = 'postgres://audit:hunter2@db/audit';

/** A valid environment of a profile. */
function environmentOf(profile: string, variables: Variables = {}) {
  const required = { DATABASE_URL: URL_OF_DATABASE, AUTH_JWT_SECRET: SECRET };
  return loadEnvironment({ NODE_ENV: profile, ...required, ...variables });
}

describe('the profiles', () => {
  it.each([
    ['development', 60, 50, 500],
    ['staging', 300, 100, 1000],
    ['production', 600, 200, 2000],
    ['test', 60, 50, 500],
  ])('%s: TTL %d s, %d concurrent requests, slow from %d ms', (profile, ttl, requests, slow) => {
    const environment = environmentOf(profile);
    expect(cacheConfig(environment).defaultTtlSeconds).toBe(ttl);
    expect(concurrencyConfig(environment).maxRequests).toBe(requests);
    expect(monitoringConfig(environment).slowRequestThresholdMs).toBe(slow);
  });

  it.each([
    ['development', 2, 10, 'pretty'],
    ['staging', 2, 20, 'json'],
    ['production', 5, 20, 'json'],
    ['test', 1, 10, 'json'],
  ])('%s: a pool of %d to %d connections, log as %s', (profile, min, max, format) => {
    const environment = environmentOf(profile);
    expect(databaseConfig(environment)).toMatchObject({ poolMin: min, poolMax: max });
    expect(loggingConfig(environment).format).toBe(format);
    expect(serverConfig(environment).profile).toBe(profile);
  });

  it('keep the data of tests apart', () => {
    const folders = PROFILES.map((profile) => serverConfig(environmentOf(profile)).dataDir);
    expect(folders.every(isAbsolute)).toBe(true);
    expect(new Set(folders)).toEqual(
      new Set([join(PACKAGE_ROOT, '.data'), join(PACKAGE_ROOT, '.data', 'test')]),
    );
  });
});

describe('the settings by default', () => {
  const environment = loadEnvironment({ NODE_ENV: 'development', DATA_DIR: dataDir });

  it('are those of the contract', () => {
    expect(serverConfig(environment)).toEqual({
      profile: 'development',
      port: 3000,
      host: undefined,
      dataDir,
      requestTimeoutMs: 30_000,
      requestMaxSizeBytes: 10_485_760,
      shutdownTimeoutMs: 25_000,
      metricsPort: undefined,
      trustedProxies: [],
      hsts: 'auto',
      docsEnabled: true,
      consoleEnabled: true,
      healthDetails: true,
      corsOrigins: [],
    });
    expect(databaseConfig(environment)).toEqual({
      url: undefined,
      replicaUrls: [],
      poolMin: 2,
      poolMax: 10,
      acquireTimeoutMs: 5000,
      idleTimeoutMs: 10_000,
      statementTimeoutMs: 30_000,
      upkeepIntervalSeconds: 3600,
      preparedStatements: true,
      sealEvents: 50_000,
      dataDir,
      slowQueryThresholdMs: 200,
    });
    expect(redisConfig(environment)).toEqual({ url: undefined });
    expect(cacheConfig(environment)).toEqual({
      enabled: true,
      adaptive: false,
      adaptiveMinTtlSeconds: 10,
      adaptiveMaxTtlSeconds: 3600,
      defaultTtlSeconds: 60,
      maxSizeBytes: 104_857_600,
      keyPrefix: 'api_cache',
      excludeEndpoints: [],
      disablePatterns: [],
      ttlOverrides: [],
    });
    expect(paginationConfig(environment)).toEqual({
      defaultLimit: 50,
      maxLimit: 1000,
      maxOffset: 100_000,
      readBudgetMs: 5000,
    });
  });

  it('are those of the contract for the rest too', () => {
    expect(streamingConfig(environment)).toEqual({
      enabled: true,
      chunkSize: 1000,
      maxConcurrent: 10,
      stallTimeoutMs: 60_000,
      selfAudit: false,
    });
    expect(concurrencyConfig(environment)).toEqual({
      maxRequests: 50,
      queueTimeoutMs: 30_000,
      queueSize: 1000,
      enableQueue: true,
      maxSubscriptionsPerPrincipal: 100,
      maxSubscriptions: 10_000,
    });
    expect(auditConfig(environment)).toEqual({
      bulkMaxEvents: 10_000,
      partitionInterval: 'monthly',
      partitionPrecreate: 3,
      retentionDays: 2555,
    });
    expect(monitoringConfig(environment)).toEqual({
      proxy: {},
      alertIntervalMs: 2000,
      alertWindowSeconds: 60,
      enabled: true,
      slowRequestThresholdMs: 500,
      slowQueryThresholdMs: 200,
      memoryAlertPercent: 85,
      cacheHitRatioAlertPercent: 50,
      concurrencyAlertPercent: 95,
      alertWebhookUrl: undefined,
    });
    expect(loggingConfig(environment)).toEqual({
      level: 'info',
      format: 'pretty',
      service: 'audit-server',
      version: '0.1.0',
      environment: 'development',
    });
  });
});

describe('values that are set', () => {
  it('reach the settings', () => {
    const environment = environmentOf('staging', {
      METRICS_PORT: '9090',
      CORS_ORIGINS: 'https://A.Example:443, http://localhost:5173, app://Desk',
      DATABASE_REPLICA_URLS: 'postgres://a, postgres://b',
      REDIS_URL: 'redis://cache',
      CACHE_TTL_OVERRIDES: 'audit_events*=120,stats=5',
      CACHE_EXCLUDE_ENDPOINTS: '/a,/b,/a',
      ALERT_WEBHOOK_URL: 'https://hooks/x',
    });
    expect(serverConfig(environment).metricsPort).toBe(9090);
    expect(serverConfig(environment).corsOrigins).toEqual([
      'https://a.example',
      'http://localhost:5173',
      'app://desk',
    ]);
    expect(databaseConfig(environment).url).toBe(URL_OF_DATABASE);
    expect(databaseConfig(environment).replicaUrls).toEqual(['postgres://a', 'postgres://b']);
    expect(redisConfig(environment).url).toBe('redis://cache');
    expect(cacheConfig(environment).excludeEndpoints).toEqual(['/a', '/b']);
    expect(cacheConfig(environment).ttlOverrides).toEqual([
      { pattern: 'audit_events*', ttlSeconds: 120 },
      { pattern: 'stats', ttlSeconds: 5 },
    ]);
    expect(monitoringConfig(environment).alertWebhookUrl).toBe('https://hooks/x');
  });

  it('are validated again when a single concern is read', () => {
    const bounds = {
      CACHE_ADAPTIVE_MIN_TTL_SECONDS: '20',
      CACHE_ADAPTIVE_MAX_TTL_SECONDS: '10',
    };
    expect(() => cacheConfig(environmentOf('staging', bounds))).toThrow(
      'at most CACHE_ADAPTIVE_MAX_TTL_SECONDS (10)',
    );
    expect(() => cacheConfig(environmentOf('staging', { CACHE_ENABLED: 'no' }))).toThrow(
      ConfigError,
    );
  });
});

describe('authConfig', () => {
  it('takes a secret with HS256 unless algorithms are set', () => {
    const keys = { kind: 'secret', secret: SECRET };
    const { keys: given, algorithms } = authConfig(environmentOf('production'));
    expect({ keys: given, algorithms }).toEqual({ keys, algorithms: ['HS256'] });
    const environment = environmentOf('production', { AUTH_ALGORITHMS: 'HS512' });
    expect(authConfig(environment).algorithms).toEqual(['HS512']);
  });

  it('takes a key set with the public-key algorithms, issuer and audience', () => {
    const environment = loadEnvironment({
      NODE_ENV: 'staging',
      AUTH_JWKS_URL: 'https://issuer/keys',
      AUTH_ISSUER: 'https://issuer',
      AUTH_AUDIENCE: 'audit, api',
    });
    expect(authConfig(environment)).toEqual({
      keys: { kind: 'jwks-url', url: 'https://issuer/keys' },
      issuers: ['https://issuer'],
      audiences: ['audit', 'api'],
      scopeClaims: [['scope'], ['scp']],
      organizationClaims: [['organizations']],
      tenantClaims: [['tid']],
      jwksRefreshSeconds: 5,
      jwksStaleSeconds: 3600,
      proxy: {},
      algorithms: ['RS256', 'ES256', 'EdDSA'],
    });
  });

  it.each([
    ['realm_access.roles', [['realm_access', 'roles']]],
    [
      'resource_access.audit\\.server.roles, scp',
      [['resource_access', 'audit.server', 'roles'], ['scp']],
    ],
    ['https://example.com/organizations', [['https://example.com/organizations']]],
    ['urn:zitadel:iam:org:id', [['urn:zitadel:iam:org:id']]],
  ])('reads the claims %s', (AUTH_ORGANIZATION_CLAIMS, paths) => {
    const environment = environmentOf('production', { AUTH_ORGANIZATION_CLAIMS });
    expect(authConfig(environment).organizationClaims).toEqual(paths);
  });

  it.each(['a..b', '.a', 'a.', 'a b', 'a"b', 'a\\b', 'a,,b'])('refuses the claims %s', (claims) => {
    const environment = environmentOf('production', { AUTH_SCOPE_CLAIMS: claims });
    expect(() => authConfig(environment)).toThrow(
      `AUTH_SCOPE_CLAIMS=${JSON.stringify(claims)}: it must be comma-separated claims`,
    );
  });

  it('takes a previous secret beside another one only', () => {
    const previous = 'p'.repeat(32);
    const environment = environmentOf('production', { AUTH_JWT_SECRET_PREVIOUS: previous });
    expect(authConfig(environment).keys).toEqual({ kind: 'secret', secret: SECRET, previous });
    for (const [wrong, allowed] of [
      [SECRET, 'be empty, or differ from AUTH_JWT_SECRET'],
      ['short', 'have at least 32 bytes in production'],
    ]) {
      const faulty = environmentOf('production', { AUTH_JWT_SECRET_PREVIOUS: wrong ?? '' });
      expect(() => authConfig(faulty)).toThrow(
        `AUTH_JWT_SECRET_PREVIOUS="****": it must ${allowed}`,
      );
    }
  });

  it.each(['https_proxy', 'HTTPS_PROXY'])('takes a proxy from %s', (name) => {
    const environment = environmentOf('production', { [name]: 'http://proxy:3128' });
    expect(authConfig(environment).proxy).toEqual({ httpsProxy: 'http://proxy:3128' });
  });

  it('reads a secret from a file, without the newline at its end', () => {
    const file = join(dataDir, 'secret');
    writeFileSync(file, `${SECRET}\n`);
    const given = { NODE_ENV: 'production', AUTH_JWT_SECRET_FILE: file };
    expect(authConfig(loadEnvironment(given)).keys).toEqual({ kind: 'secret', secret: SECRET });
    expect(loadEnvironment(given).findTypos()).toEqual([]);
    expect(() => loadEnvironment({ ...given, AUTH_JWT_SECRET: SECRET })).toThrow(
      `AUTH_JWT_SECRET_FILE=${JSON.stringify(file)}: it must be empty while AUTH_JWT_SECRET is set`,
    );
    expect(() => loadEnvironment({ REDIS_URL_FILE: join(dataDir, 'none') })).toThrow(
      /^REDIS_URL_FILE=".*none": it must be a readable file with the value of REDIS_URL$/,
    );
    writeFileSync(file, '\n');
    expect(() => loadEnvironment(given)).toThrow(/it must be a file that is not empty$/);
  });

  it('finds a relative key set file from the package root', () => {
    const fixture = 'config/default.env';
    expect(() =>
      authConfig(loadEnvironment({ NODE_ENV: 'staging', AUTH_JWKS_FILE: fixture })),
    ).toThrow(/^AUTH_JWKS_FILE="config\/default\.env": it must be a readable file/);
  });

  it.each(['development', 'test'])('makes a secret in %s and keeps it', (profile) => {
    const environment = loadEnvironment({ NODE_ENV: profile, DATA_DIR: dataDir });
    const { keys } = authConfig(environment);
    expect(keys).toEqual({ kind: 'secret', secret: expect.stringMatching(/^[\w-]{43}$/) });
    expect(authConfig(environment).keys).toEqual(keys);
  });
});

@Injectable()
class Listener {
  constructor(@Inject(serverConfig.KEY) readonly config: ConfigType<typeof serverConfig>) {}
}

@Module({ providers: [Listener], exports: [Listener] })
class ListenerModule {}

describe('ConfigModule', () => {
  const before = { ...process.env };
  beforeEach(() => Object.assign(process.env, { DATA_DIR: dataDir }));
  afterEach(() => {
    process.env = { ...before };
  });

  async function portOfApplication(): Promise<number> {
    const module = await Test.createTestingModule({
      imports: [ConfigModule, ListenerModule],
    }).compile();
    const { port } = module.get(Listener).config;
    await module.close();
    return port;
  }

  it('reads the environment when an application is created, in every module', async () => {
    process.env.PORT = '4001';
    expect(await portOfApplication()).toBe(4001);
    process.env.PORT = '4002';
    expect(await portOfApplication()).toBe(4002);
  });

  it('fails the creation when a setting is not valid', async () => {
    process.env.PORT = 'x';
    await expect(portOfApplication()).rejects.toThrow(ConfigError);
  });
});
