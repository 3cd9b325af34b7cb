import type { ConfigType } from '@nestjs/config';
import { readFileSync } from 'node:fs';
import {
  boolean,
  choice,
  type Conflict,
  defineConfig,
  host,
  integer,
  list,
  matching,
  mebibytes,
  optional,
  origin,
  path,
  secret,
  secretUrl,
  type Settings,
  text,
  url,
  urlList,
} from './define-config';
import { networkOf } from '../runtime/ip-address';
import { developmentSecret, MIN_SECRET_BYTES } from './development-secret';
import { packageVersion, type Profile } from './load-environment';

const CORS_ORIGINS =
  'be empty, * alone, or comma-separated origins such as https://console.example or http://localhost:5173: scheme, host and port, without a path or wildcards';

/** Settings of the listener, time limits, data folder and cross-origin sharing. */
export const serverConfig = defineConfig(
  'server',
  {
    /** TCP port of the API; 0 takes any free one. */
    port: integer('PORT', 0, 65_535),
    /** Unset: all addresses, of IPv6 too where there is IPv6. */
    host: optional(host('HOST')),
    /** Absolute path. */
    dataDir: path('DATA_DIR'),
    requestTimeoutMs: integer('REQUEST_TIMEOUT_MS', 1, 3_600_000),
    requestMaxSizeBytes: mebibytes('REQUEST_MAX_SIZE_MB', 1, 1024),
    /** Milliseconds for running requests after SIGTERM. */
    shutdownTimeoutMs: integer('SHUTDOWN_TIMEOUT_MS', 0, 600_000),
    /** TCP port of /metrics alone; unset leaves it on PORT. */
    metricsPort: optional(integer('METRICS_PORT', 0, 65_535)),
    /** Networks of the proxies whose X-Forwarded-* headers count. */
    trustedProxies: list(
      'TRUSTED_PROXIES',
      networkOf,
      'be empty or comma-separated addresses and networks such as 10.0.0.0/8, 192.168.1.7 or fd00::/8',
    ),
    /** Strict-Transport-Security: behind TLS as a trusted proxy says, in any case, or not at all. */
    hsts: choice<'auto' | 'always' | 'never'>('HSTS', ['auto', 'always', 'never']),
    /** /docs, /docs-json, /docs-yaml, and in development GraphiQL. */
    docsEnabled: boolean('DOCS_ENABLED'),
    /** The console at / and /console. */
    consoleEnabled: boolean('CONSOLE_ENABLED'),
    /** Whether /health shows its indicators to requests without a token. */
    healthDetails: boolean('HEALTH_DETAILS'),
    /** Origins whose pages may read responses; `*` alone stands for all. */
    corsOrigins: list('CORS_ORIGINS', (item) => (item === '*' ? item : origin(item)), CORS_ORIGINS),
  },
  {
    findConflicts: ({ port, metricsPort, corsOrigins }) => {
      const conflicts: Conflict[] = [];
      if (metricsPort && metricsPort === port) {
        conflicts.push({ variable: 'METRICS_PORT', allowed: 'be empty or differ from PORT' });
      }
      if (corsOrigins.includes('*') && corsOrigins.length > 1) {
        conflicts.push({ variable: 'CORS_ORIGINS', allowed: CORS_ORIGINS });
      }
      return conflicts;
    },
    derive: (settings, { profile }) => ({ profile, ...settings }),
  },
);

const SCHEMES = ['postgres', 'postgresql'];

/** Settings of PostgreSQL and its connection pools. */
export const databaseConfig = defineConfig(
  'database',
  {
    /** Unset: embedded PostgreSQL in `dataDir`, which production refuses. */
    url: url('DATABASE_URL', SCHEMES),
    replicaUrls: urlList('DATABASE_REPLICA_URLS', SCHEMES),
    /** Connections kept open when idle. */
    poolMin: integer('DATABASE_POOL_MIN', 0, 1000),
    /** Connection limit of one process. */
    poolMax: integer('DATABASE_POOL_MAX', 1, 1000),
    /** Milliseconds to wait for a free connection. */
    acquireTimeoutMs: integer('DATABASE_ACQUIRE_TIMEOUT_MS', 1, 600_000),
    /** Milliseconds; 0 never closes idle connections. */
    idleTimeoutMs: integer('DATABASE_IDLE_TIMEOUT_MS', 0, 3_600_000),
    /** Milliseconds; 0 never cancels statements. */
    statementTimeoutMs: integer('DATABASE_STATEMENT_TIMEOUT_MS', 0, 3_600_000),
    /** Seconds between two runs of maintenance; 0 never. */
    upkeepIntervalSeconds: integer('DATABASE_UPKEEP_INTERVAL_SECONDS', 0, 604_800),
    /** Events of a growing partition from which on the next part of it is indexed; 0 builds no such indexes. */
    sealEvents: integer('DATABASE_SEAL_EVENTS', 0, 100_000_000),
    /** Named statements, prepared once per connection; transaction poolers must support them. */
    preparedStatements: boolean('DATABASE_PREPARED_STATEMENTS'),
  },
  {
    findConflicts: ({ url: primary, replicaUrls, poolMin, poolMax }, profile) => {
      const conflicts: Conflict[] = [];
      if (profile === 'production' && !primary) {
        const allowed = `be a URL of scheme ${SCHEMES.join(' or ')}; embedded PostgreSQL is refused in production`;
        conflicts.push({ variable: 'DATABASE_URL', allowed });
      }
      if (!primary && replicaUrls.length > 0) {
        const allowed = 'be empty while DATABASE_URL is: embedded PostgreSQL has no replicas';
        conflicts.push({ variable: 'DATABASE_REPLICA_URLS', allowed });
      }
      if (poolMin > poolMax) {
        const allowed = `be at most DATABASE_POOL_MAX, which is ${poolMax}`;
        conflicts.push({
          variable: 'DATABASE_POOL_MIN',
          allowed,
          comparedWith: 'DATABASE_POOL_MAX',
        });
      }
      return conflicts;
    },
    derive: (settings, environment) => ({
      ...settings,
      dataDir: serverConfig.read(environment).dataDir,
      slowQueryThresholdMs: monitoringConfig.read(environment).slowQueryThresholdMs,
    }),
  },
);

export type DatabaseConfig = ConfigType<typeof databaseConfig>;

/** Connection to Redis. */
export const redisConfig = defineConfig('redis', {
  /** Unset: the in-process cache alone. */
  url: url('REDIS_URL', ['redis', 'rediss']),
});

const MAX_TTL_SECONDS = 86_400;
const OVERRIDE = /^([A-Za-z0-9_*-]+|\/[^\s=]*)=([1-9]\d{0,4})$/;

/** Lifetime for namespaces, or (beginning with `/`) paths; `*` stands for any text. */
interface CacheTtlOverride {
  pattern: string;
  ttlSeconds: number;
}

function overrideOf(item: string): CacheTtlOverride | undefined {
  const [, pattern = '', seconds] = OVERRIDE.exec(item) ?? [];
  const ttlSeconds = Number(seconds);
  return ttlSeconds <= MAX_TTL_SECONDS ? { pattern, ttlSeconds } : undefined;
}

/** Settings of the response cache. */
export const cacheConfig = defineConfig(
  'cache',
  {
    /** Places and lifetimes of entries by what is asked and written; else by last use and the default. */
    adaptive: boolean('CACHE_ADAPTIVE'),
    /** Bounds of a learned lifetime. */
    adaptiveMinTtlSeconds: integer('CACHE_ADAPTIVE_MIN_TTL_SECONDS', 1, MAX_TTL_SECONDS),
    adaptiveMaxTtlSeconds: integer('CACHE_ADAPTIVE_MAX_TTL_SECONDS', 1, MAX_TTL_SECONDS),
    enabled: boolean('CACHE_ENABLED'),
    defaultTtlSeconds: integer('CACHE_DEFAULT_TTL_SECONDS', 1, MAX_TTL_SECONDS),
    maxSizeBytes: mebibytes('CACHE_MAX_SIZE_MB', 1, 65_536),
    keyPrefix: text(
      'CACHE_KEY_PREFIX',
      /^[A-Za-z0-9_-]{1,64}$/,
      'be 1 to 64 letters, digits, underscores or hyphens',
    ),
    /** Paths never cached, nor those below; `*` stands for any text. */
    excludeEndpoints: list(
      'CACHE_EXCLUDE_ENDPOINTS',
      matching(/^\/[^\s]*$/),
      'be empty or comma-separated paths that start with /',
    ),
    /** Namespaces never cached; `*` stands for any text. */
    disablePatterns: list(
      'CACHE_DISABLE_PATTERNS',
      matching(/^[A-Za-z0-9_*-]+$/),
      'be empty or comma-separated namespaces, in which * stands for any text, such as audit_events*',
    ),
    /** Lifetimes by namespace or path, in the order given. */
    ttlOverrides: list(
      'CACHE_TTL_OVERRIDES',
      overrideOf,
      `be empty or comma-separated pattern=seconds with seconds from 1 to ${MAX_TTL_SECONDS}, such as audit_events*=120 or /audit/events=30`,
    ),
  },
  {
    findConflicts: ({ adaptiveMinTtlSeconds, adaptiveMaxTtlSeconds }) =>
      adaptiveMinTtlSeconds <= adaptiveMaxTtlSeconds
        ? []
        : [
            {
              variable: 'CACHE_ADAPTIVE_MIN_TTL_SECONDS',
              allowed: `be at most CACHE_ADAPTIVE_MAX_TTL_SECONDS (${adaptiveMaxTtlSeconds})`,
              comparedWith: 'CACHE_ADAPTIVE_MAX_TTL_SECONDS',
            },
          ],
  },
);

export type CacheConfig = ConfigType<typeof cacheConfig>;

/** Limits of lists. */
export const paginationConfig = defineConfig(
  'pagination',
  {
    /** Entries without `limit`; at most PAGINATION_MAX_LIMIT. */
    defaultLimit: integer('PAGINATION_DEFAULT_LIMIT', 1, 1000),
    maxLimit: integer('PAGINATION_MAX_LIMIT', 1, 1000),
    /** Pages beyond need a cursor. */
    maxOffset: integer('PAGINATION_MAX_OFFSET', 0, 1_000_000_000),
    /** Milliseconds of a search or a count, after which the response has what was found. */
    readBudgetMs: integer('READ_BUDGET_MS', 1, 3_600_000),
  },
  {
    derive: (settings) => ({
      ...settings,
      defaultLimit: Math.min(settings.defaultLimit, settings.maxLimit),
    }),
  },
);

/** Settings of the GraphQL API. */
export const graphqlConfig = defineConfig('graphql', {
  introspection: boolean('GRAPHQL_INTROSPECTION'),
});

/** Settings of exports. */
export const streamingConfig = defineConfig('streaming', {
  enabled: boolean('STREAMING_ENABLED'),
  /** Default number of rows for each fetch. */
  chunkSize: integer('STREAMING_CHUNK_SIZE', 100, 10_000),
  /** Concurrent exports of one process; one principal has at most half. */
  maxConcurrent: integer('STREAMING_MAX_CONCURRENT', 1, 1000),
  /** Milliseconds without progress before an export is disconnected. */
  stallTimeoutMs: integer('STREAMING_STALL_TIMEOUT_MS', 1, 3_600_000),
  /** Records exports as audit events. */
  selfAudit: boolean('STREAMING_SELF_AUDIT'),
});

/** Limits of running and waiting requests. */
export const concurrencyConfig = defineConfig('concurrency', {
  /** Concurrent requests of one process. */
  maxRequests: integer('CONCURRENCY_MAX_REQUESTS', 1, 100_000),
  /** Milliseconds a request waits for its permit. */
  queueTimeoutMs: integer('CONCURRENCY_QUEUE_TIMEOUT_MS', 1, 3_600_000),
  /** Requests that may wait. */
  queueSize: integer('CONCURRENCY_QUEUE_SIZE', 0, 1_000_000),
  /** False refuses requests beyond the limit at once. */
  enableQueue: boolean('CONCURRENCY_ENABLE_QUEUE'),
  /** Concurrent subscriptions of a principal, over all APIs of a replica. */
  maxSubscriptionsPerPrincipal: integer('SUBSCRIPTIONS_MAX_PER_PRINCIPAL', 1, 1_000_000),
  maxSubscriptions: integer('SUBSCRIPTIONS_MAX', 1, 1_000_000),
});

/** Request limit of a principal. */
export const rateLimitConfig = defineConfig('rateLimit', {
  isEnabled: boolean('RATE_LIMIT_ENABLED'),
  /** Requests of one principal in each window. */
  requests: integer('RATE_LIMIT_REQUESTS', 1, 1_000_000_000),
  windowSeconds: integer('RATE_LIMIT_WINDOW_SECONDS', 1, 86_400),
});

/** Settings of bulk writes, partitions and retention. */
export const auditConfig = defineConfig('audit', {
  /** Events in one transaction. */
  bulkMaxEvents: integer('BULK_MAX_EVENTS', 1, 100_000),
  partitionInterval: choice('PARTITION_INTERVAL', ['monthly']),
  /** Partitions made ahead of the current one. */
  partitionPrecreate: integer('PARTITION_PRECREATE', 0, 120),
  /** 0 keeps events for ever. */
  retentionDays: integer('RETENTION_DAYS', 0, 36_500),
});

/** Proxies of requests that the service makes: key set, webhook. */
const proxyConfig = defineConfig('proxy', {
  /** Of requests to https:// addresses; http:// ones too without HTTP_PROXY. */
  httpsProxy: url('HTTPS_PROXY', ['http', 'https']),
  httpProxy: url('HTTP_PROXY', ['http', 'https']),
  /** Hosts that are asked directly. */
  noProxy: optional(text('NO_PROXY', /^\S+( *, *\S+)*$/, 'be comma-separated hosts, or *')),
});

export type ProxyConfig = ConfigType<typeof proxyConfig>;

/** Settings of measurements and alert thresholds. */
export const monitoringConfig = defineConfig(
  'monitoring',
  {
    enabled: boolean('MONITORING_ENABLED'),
    /** Milliseconds from which a request counts as slow. */
    slowRequestThresholdMs: integer('SLOW_REQUEST_THRESHOLD_MS', 1, 3_600_000),
    /** Milliseconds from which a query counts as slow. */
    slowQueryThresholdMs: integer('SLOW_QUERY_THRESHOLD_MS', 1, 3_600_000),
    /** Upper bound, percent of the memory limit. */
    memoryAlertPercent: integer('MEMORY_ALERT_PERCENT', 1, 100),
    /** Lower bound in percent. */
    cacheHitRatioAlertPercent: integer('CACHE_HIT_RATIO_ALERT_PERCENT', 0, 100),
    /** Upper bound of running requests, percent of their limit. */
    concurrencyAlertPercent: integer('CONCURRENCY_ALERT_PERCENT', 1, 100),
    /** Unset: alerts are not posted. */
    alertWebhookUrl: secretUrl('ALERT_WEBHOOK_URL', ['http', 'https']),
    /** HMAC key of posted alerts; unset leaves them unsigned. */
    alertWebhookSecret: secret('ALERT_WEBHOOK_SECRET'),
    /** Milliseconds between two samples. */
    alertIntervalMs: integer('ALERT_INTERVAL_MS', 100, 3_600_000),
    /** Seconds over which slow requests are counted. */
    alertWindowSeconds: integer('ALERT_WINDOW_SECONDS', 1, 60),
  },
  {
    findConflicts: ({ alertWebhookSecret, alertWebhookUrl }) =>
      alertWebhookSecret !== undefined && alertWebhookUrl === undefined
        ? [{ variable: 'ALERT_WEBHOOK_URL', allowed: 'be set when ALERT_WEBHOOK_SECRET is' }]
        : [],
    derive: (settings, environment) => ({ ...settings, proxy: proxyConfig.read(environment) }),
  },
);

export type MonitoringConfig = ConfigType<typeof monitoringConfig>;

/** The build that runs: the version of package.json, and the commit of the image. */
export const buildConfig = defineConfig(
  'build',
  {
    revision: optional(
      text(
        'AUDIT_REVISION',
        /^[\w.+/-]{1,100}$/,
        'be 1 to 100 letters, digits, or any of . _ + / -',
      ),
    ),
  },
  {
    derive: ({ revision = 'unknown' }) => ({
      version: packageVersion(),
      revision,
      node: process.versions.node,
    }),
  },
);

/** Level and format of the log, and the members of each line. */
export const loggingConfig = defineConfig(
  'logging',
  {
    level: choice('LOG_LEVEL', ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
    /** JSON lines, or coloured text for terminals. */
    format: choice('LOG_FORMAT', ['json', 'pretty']),
  },
  {
    derive: (settings, environment) => ({
      ...settings,
      service: tracingConfig.read(environment).serviceName,
      version: packageVersion(),
      environment: environment.profile,
    }),
  },
);

export type LoggingConfig = ConfigType<typeof loggingConfig>;

/** Receiver of traces, under OpenTelemetry's names; its SDK reads further ones (sampling, batching). */
export const tracingConfig = defineConfig(
  'tracing',
  {
    /** Base URL of an OTLP/HTTP receiver; unset disables tracing. */
    endpoint: url('OTEL_EXPORTER_OTLP_ENDPOINT', ['http', 'https']),
    /** Format: `name=value,name=value`. */
    headers: secret('OTEL_EXPORTER_OTLP_HEADERS'),
    serviceName: text(
      'OTEL_SERVICE_NAME',
      /^[^\s]{1,100}$/,
      'be 1 to 100 characters without spaces',
    ),
  },
  { derive: ({ headers = '', ...settings }) => ({ ...settings, headers: headersOf(headers) }) },
);

export type TracingConfig = ConfigType<typeof tracingConfig>;

/** Percent-encoded by OpenTelemetry's specification. */
function headersOf(given: string): Record<string, string> {
  const pairs = given
    .split(',')
    .map((pair) => pair.trim())
    .filter((pair) => pair.includes('='))
    .map((pair): [string, string] => {
      const at = pair.indexOf('=');
      return [pair.slice(0, at).trim(), decoded(pair.slice(at + 1).trim())];
    });
  return Object.fromEntries(pairs);
}

function decoded(given: string): string {
  try {
    return decodeURIComponent(given);
  } catch {
    return given;
  }
}

const SYMMETRIC = ['HS256', 'HS384', 'HS512'];
const ASYMMETRIC = ['RS', 'PS', 'ES'].flatMap((family) =>
  ['256', '384', '512'].map((n) => family + n),
);
const PUBLIC_KEY = [...ASYMMETRIC, 'EdDSA', 'Ed25519'];
const ALGORITHMS = [...SYMMETRIC, ...PUBLIC_KEY];
const DEFAULT_SYMMETRIC = ['HS256'];
const DEFAULT_PUBLIC_KEY = ['RS256', 'ES256', 'EdDSA'];

/** Names of nested claims, from the outermost one. */
export type ClaimPath = readonly string[];

const CLAIM_PATHS =
  'be comma-separated claims such as scp, realm_access.roles or https://example.com/scope: without spaces, quotes and empty names, \\. being a dot in a name';

/** A URL is one name, as identity providers prescribe URLs for names of one's own. */
function claimPathOf(item: string): ClaimPath | undefined {
  if (!/^(?:[\x21\x23-\x5b\x5d-\x7e]|\\\.)+$/.test(item)) return undefined;
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(item)) return [item];
  const names = item.split(/(?<!\\)\./).map((name) => name.replaceAll('\\.', '.'));
  return names.includes('') ? undefined : names;
}

const VARIABLES = {
  secret: secret('AUTH_JWT_SECRET'),
  /** Verifies tokens, too, while AUTH_JWT_SECRET is rotated; signs none. */
  previousSecret: secret('AUTH_JWT_SECRET_PREVIOUS'),
  /** JSON Web Key Set that verifies tokens. */
  jwksUrl: url('AUTH_JWKS_URL', ['http', 'https']),
  /** The same as a file, as an absolute path. */
  jwksFile: optional(path('AUTH_JWKS_FILE')),
  /** Seconds between two reads, thus the delay of a key's withdrawal. */
  jwksRefreshSeconds: integer('AUTH_JWKS_REFRESH_SECONDS', 1, 300),
  /** Seconds after the last successful read for which known keys verify while the key set is unavailable. */
  jwksStaleSeconds: integer('AUTH_JWKS_STALE_SECONDS', 300, 604_800),
  /** Accepted `iss`; empty means any. */
  issuers: list(
    'AUTH_ISSUER',
    matching(/^\S+$/),
    'be empty or comma-separated texts without spaces',
  ),
  /** Accepted `aud`, of which a token needs one; empty means any. */
  audiences: list(
    'AUTH_AUDIENCE',
    matching(/^\S+$/),
    'be empty or comma-separated texts without spaces',
  ),
  /** Claims with scopes, which are added up. */
  scopeClaims: list('AUTH_SCOPE_CLAIMS', claimPathOf, CLAIM_PATHS),
  /** Claims with organizations, which are added up. */
  organizationClaims: list('AUTH_ORGANIZATION_CLAIMS', claimPathOf, CLAIM_PATHS),
  /** Claims with the tenant of a subject; issuers may give one subject to several. */
  tenantClaims: list('AUTH_TENANT_CLAIMS', claimPathOf, CLAIM_PATHS),
  /** Accepted algorithms; empty: those that suit the kind of key. */
  algorithms: list(
    'AUTH_ALGORITHMS',
    matching(new RegExp(`^(?:${ALGORITHMS.join('|')})$`)),
    `be empty or a comma-separated list of ${ALGORITHMS.join(', ')}`,
  ),
};
type AuthSettings = Settings<typeof VARIABLES>;

type AuthKeys =
  | { kind: 'secret'; secret: string; previous?: string }
  | { kind: 'jwks-url'; url: string }
  | { kind: 'jwks-file'; path: string };

export interface AuthConfig extends Partial<
  Pick<
    AuthSettings,
    | 'issuers'
    | 'audiences'
    | 'scopeClaims'
    | 'organizationClaims'
    | 'tenantClaims'
    | 'jwksRefreshSeconds'
    | 'jwksStaleSeconds'
  >
> {
  keys: AuthKeys;
  proxy?: ProxyConfig;
  /** Never empty; only algorithms that suit the kind of key. */
  algorithms: string[];
}

/** Settings of token verification; makes a development secret when there are no keys. */
export const authConfig = defineConfig('auth', VARIABLES, {
  findConflicts: (settings, profile) => [
    ...sourceConflicts(settings, profile),
    ...secretConflicts(settings, profile),
    ...algorithmConflicts(settings),
  ],
  derive: (settings, environment): AuthConfig => {
    const { jwksRefreshSeconds, issuers, audiences, algorithms } = settings;
    const { scopeClaims, organizationClaims, tenantClaims, jwksStaleSeconds } = settings;
    const keys = keysOf(settings, () => serverConfig.read(environment).dataDir);
    const suitable = keys.kind === 'secret' ? DEFAULT_SYMMETRIC : DEFAULT_PUBLIC_KEY;
    return {
      keys,
      proxy: proxyConfig.read(environment),
      jwksRefreshSeconds,
      jwksStaleSeconds,
      issuers,
      audiences,
      scopeClaims,
      organizationClaims,
      tenantClaims,
      algorithms: algorithms.length > 0 ? algorithms : [...suitable],
    };
  },
});

function keysOf(settings: AuthSettings, dataDir: () => string): AuthKeys {
  const { secret: given, previousSecret, jwksUrl, jwksFile } = settings;
  if (jwksUrl !== undefined) return { kind: 'jwks-url', url: jwksUrl };
  if (jwksFile !== undefined) return { kind: 'jwks-file', path: jwksFile };
  const current = given ?? developmentSecret(dataDir());
  const previous = previousSecret === undefined ? {} : { previous: previousSecret };
  return { kind: 'secret', secret: current, ...previous };
}

function sourceConflicts(settings: AuthSettings, profile: Profile): Conflict[] {
  const { jwksFile } = settings;
  const sources = (['secret', 'jwksUrl', 'jwksFile'] as const).map((key) => ({
    name: VARIABLES[key].name,
    isSet: settings[key] !== undefined,
  }));
  const [first, ...others] = sources.filter(({ isSet }) => isSet);
  const required = profile === 'production' || profile === 'staging';
  if (first === undefined && required) {
    const allowed = `be set in ${profile} to at least ${MIN_SECRET_BYTES} bytes, unless AUTH_JWKS_URL or AUTH_JWKS_FILE is`;
    return [{ variable: 'AUTH_JWT_SECRET', allowed }];
  }
  const names = sources.map(({ name }) => name).join(', ');
  const tooMany = others.map(({ name: variable }) => ({
    variable,
    allowed: `be empty while ${first?.name} is set: only one of ${names} is allowed`,
  }));
  if (jwksFile === undefined || isKeySetFile(jwksFile)) return tooMany;
  const allowed = 'be a readable file that holds a JSON Web Key Set: {"keys":[...]}';
  return [...tooMany, { variable: 'AUTH_JWKS_FILE', allowed }];
}

function isKeySetFile(file: string): boolean {
  try {
    const set = JSON.parse(readFileSync(file, 'utf8')) as { keys?: unknown } | null;
    return Array.isArray(set?.keys);
  } catch {
    return false;
  }
}

function secretConflicts(settings: AuthSettings, profile: Profile): Conflict[] {
  const { secret: given, previousSecret: previous } = settings;
  const conflicts: Conflict[] = [];
  if (previous !== undefined && (given === undefined || given === previous)) {
    const allowed = 'be empty, or differ from AUTH_JWT_SECRET, which must be set, too';
    conflicts.push({ variable: VARIABLES.previousSecret.name, allowed });
  }
  if (profile === 'development' || profile === 'test') return conflicts;
  for (const key of ['secret', 'previousSecret'] as const) {
    if (Buffer.byteLength(settings[key] ?? ' '.repeat(MIN_SECRET_BYTES)) >= MIN_SECRET_BYTES)
      continue;
    const allowed = `have at least ${MIN_SECRET_BYTES} bytes in ${profile}`;
    conflicts.push({ variable: VARIABLES[key].name, allowed });
  }
  return conflicts;
}

function algorithmConflicts({ jwksUrl, jwksFile, algorithms }: AuthSettings): Conflict[] {
  // Never mixed: a public key taken for an HMAC secret would let any client sign.
  const usesKeySet = jwksUrl !== undefined || jwksFile !== undefined;
  const suitable = usesKeySet ? PUBLIC_KEY : SYMMETRIC;
  if (algorithms.every((algorithm) => suitable.includes(algorithm))) return [];
  const kind = usesKeySet ? 'a key set' : 'a secret';
  const allowed = `hold only algorithms that suit ${kind}: ${suitable.join(', ')}`;
  return [{ variable: 'AUTH_ALGORITHMS', allowed }];
}

/** Settings of tickets. */
export const ticketConfig = defineConfig('tickets', {
  /** Seconds in which a ticket can be redeemed. */
  ttlSeconds: integer('AUTH_TICKET_TTL_SECONDS', 5, 300),
});

/** In the order of `config/default.env`. */
export const CONFIGS = [
  serverConfig,
  databaseConfig,
  redisConfig,
  authConfig,
  ticketConfig,
  cacheConfig,
  paginationConfig,
  graphqlConfig,
  streamingConfig,
  concurrencyConfig,
  rateLimitConfig,
  auditConfig,
  proxyConfig,
  monitoringConfig,
  loggingConfig,
  buildConfig,
  tracingConfig,
];
