import { readFileSync } from 'node:fs';
import {
  type Conflict,
  defineConfig,
  integer,
  list,
  matching,
  optional,
  path,
  secret,
  type Settings,
  text,
  url,
} from './define-config';
import { developmentSecret, MIN_SECRET_BYTES } from './development-secret';
import type { Profile } from './load-environment';
import { serverConfig } from './settings';

const SYMMETRIC = ['HS256', 'HS384', 'HS512'];
const ASYMMETRIC = ['RS', 'PS', 'ES'].flatMap((family) =>
  ['256', '384', '512'].map((n) => family + n),
);
const PUBLIC_KEY = [...ASYMMETRIC, 'EdDSA', 'Ed25519'];
const ALGORITHMS = [...SYMMETRIC, ...PUBLIC_KEY];
const DEFAULT_SYMMETRIC = ['HS256'];
const DEFAULT_PUBLIC_KEY = ['RS256', 'ES256', 'EdDSA'];

const VARIABLES = {
  secret: secret('AUTH_JWT_SECRET'),
  /** JSON Web Key Set that verifies tokens. */
  jwksUrl: url('AUTH_JWKS_URL', ['http', 'https']),
  /** The same as a file, as an absolute path. */
  jwksFile: optional(path('AUTH_JWKS_FILE')),
  /** Seconds between two reads, thus the delay of a key's withdrawal. */
  jwksRefreshSeconds: integer('AUTH_JWKS_REFRESH_SECONDS', 1, 300),
  /** Required `iss`; unset means any. */
  issuer: optional(text('AUTH_ISSUER', /^\S+$/, 'be text without spaces')),
  /** Required `aud`; unset means any. */
  audience: optional(text('AUTH_AUDIENCE', /^\S+$/, 'be text without spaces')),
  /** Accepted algorithms; empty: those that suit the kind of key. */
  algorithms: list(
    'AUTH_ALGORITHMS',
    matching(new RegExp(`^(?:${ALGORITHMS.join('|')})$`)),
    `be empty or a comma-separated list of ${ALGORITHMS.join(', ')}`,
  ),
};
type AuthSettings = Settings<typeof VARIABLES>;

type AuthKeys =
  | { kind: 'secret'; secret: string }
  | { kind: 'jwks-url'; url: string }
  | { kind: 'jwks-file'; path: string };

export interface AuthConfig extends Partial<
  Pick<AuthSettings, 'issuer' | 'audience' | 'jwksRefreshSeconds'>
> {
  keys: AuthKeys;
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
    const { jwksRefreshSeconds, issuer, audience, algorithms } = settings;
    const keys = keysOf(settings, () => serverConfig.read(environment).dataDir);
    const suitable = keys.kind === 'secret' ? DEFAULT_SYMMETRIC : DEFAULT_PUBLIC_KEY;
    return {
      keys,
      jwksRefreshSeconds,
      issuer,
      audience,
      algorithms: algorithms.length > 0 ? algorithms : [...suitable],
    };
  },
});

function keysOf(settings: AuthSettings, dataDir: () => string): AuthKeys {
  const { secret: given, jwksUrl, jwksFile } = settings;
  if (jwksUrl !== undefined) return { kind: 'jwks-url', url: jwksUrl };
  if (jwksFile !== undefined) return { kind: 'jwks-file', path: jwksFile };
  return { kind: 'secret', secret: given ?? developmentSecret(dataDir()) };
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

function secretConflicts({ secret: given }: AuthSettings, profile: Profile): Conflict[] {
  if (given === undefined || profile === 'development' || profile === 'test') return [];
  if (Buffer.byteLength(given) >= MIN_SECRET_BYTES) return [];
  const allowed = `have at least ${MIN_SECRET_BYTES} bytes in ${profile}`;
  return [{ variable: 'AUTH_JWT_SECRET', allowed }];
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
