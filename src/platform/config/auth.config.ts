import { readFileSync } from 'node:fs';
import { registerAs } from '@nestjs/config';
import { developmentSecret, MIN_SECRET_BYTES } from './development-secret';
import { type Environment, loadEnvironment, type Profile } from './load-environment';
import { type Conflict, EnvVariables, readEnv } from './read-env';
import { ServerEnv } from './server.config';
import {
  IntegerVariable,
  ListVariable,
  PathVariable,
  SecretVariable,
  TextVariable,
  UrlVariable,
} from './variable.decorators';

const SYMMETRIC = ['HS256', 'HS384', 'HS512'];
const ASYMMETRIC = ['RS', 'PS', 'ES'].flatMap((family) =>
  ['256', '384', '512'].map((n) => family + n),
);
const PUBLIC_KEY = [...ASYMMETRIC, 'EdDSA', 'Ed25519'];
const ALGORITHM = new RegExp(`^(?:${[...SYMMETRIC, ...PUBLIC_KEY].join('|')})$`);
const DEFAULT_SYMMETRIC = ['HS256'];
const DEFAULT_PUBLIC_KEY = ['RS256', 'ES256', 'EdDSA'];
const SOURCES = ['AUTH_JWT_SECRET', 'AUTH_JWKS_URL', 'AUTH_JWKS_FILE'] as const;

function isKeySetFile(path: string): boolean {
  try {
    const set = JSON.parse(readFileSync(path, 'utf8')) as { keys?: unknown } | null;
    return Array.isArray(set?.keys);
  } catch {
    return false;
  }
}

/** How bearer tokens are verified. */
export class AuthEnv extends EnvVariables {
  /** Shared secret of HMAC-signed tokens. */
  @SecretVariable()
  readonly AUTH_JWT_SECRET?: string;

  /** URL of the JSON Web Key Set that verifies tokens. */
  @UrlVariable(['http', 'https'])
  readonly AUTH_JWKS_URL?: string;

  /** File of the JSON Web Key Set that verifies tokens; absolute once read. */
  @PathVariable({ optional: true })
  readonly AUTH_JWKS_FILE?: string;

  /** Seconds between two looks at the key set: a key that was withdrawn ends what it verified within them. */
  @IntegerVariable(1, 300)
  readonly AUTH_JWKS_REFRESH_SECONDS!: number;

  /** The `iss` a token must carry; unset means any. */
  @TextVariable(/^\S+$/, 'be empty or text without spaces', { optional: true })
  readonly AUTH_ISSUER?: string;

  /** The `aud` a token must carry; unset means any. */
  @TextVariable(/^\S+$/, 'be empty or text without spaces', { optional: true })
  readonly AUTH_AUDIENCE?: string;

  /** Accepted signature algorithms; none means those that suit the kind of key. */
  @ListVariable(
    ALGORITHM,
    `be empty or a comma-separated list of ${[...SYMMETRIC, ...PUBLIC_KEY].join(', ')}`,
  )
  readonly AUTH_ALGORITHMS!: string[];

  override findConflicts(profile: Profile): Conflict[] {
    return [
      ...this.sourceConflicts(profile),
      ...this.secretConflicts(profile),
      ...this.algorithmConflicts(),
    ];
  }

  private usesKeySet(): boolean {
    return this.AUTH_JWKS_URL !== undefined || this.AUTH_JWKS_FILE !== undefined;
  }

  private sourceConflicts(profile: Profile): Conflict[] {
    const [first, ...others] = SOURCES.filter((source) => this[source] !== undefined);
    const required = profile === 'production' || profile === 'staging';
    if (first === undefined && required) {
      const allowed = `be set in ${profile} to at least ${MIN_SECRET_BYTES} bytes, unless AUTH_JWKS_URL or AUTH_JWKS_FILE is`;
      return [{ variable: 'AUTH_JWT_SECRET', allowed }];
    }
    const tooMany = others.map((variable) => ({
      variable,
      allowed: `be empty while ${first} is set: only one of ${SOURCES.join(', ')} is allowed`,
    }));
    if (this.AUTH_JWKS_FILE === undefined || isKeySetFile(this.AUTH_JWKS_FILE)) return tooMany;
    const allowed = 'be a readable file that holds a JSON Web Key Set: {"keys":[...]}';
    return [...tooMany, { variable: 'AUTH_JWKS_FILE', allowed }];
  }

  private secretConflicts(profile: Profile): Conflict[] {
    if (this.AUTH_JWT_SECRET === undefined) return [];
    if (profile === 'development' || profile === 'test') return [];
    if (Buffer.byteLength(this.AUTH_JWT_SECRET) >= MIN_SECRET_BYTES) return [];
    const allowed = `have at least ${MIN_SECRET_BYTES} bytes in ${profile}`;
    return [{ variable: 'AUTH_JWT_SECRET', allowed }];
  }

  private algorithmConflicts(): Conflict[] {
    // A public key taken for an HMAC secret would let anybody sign: the two kinds are never mixed.
    const suitable = this.usesKeySet() ? PUBLIC_KEY : SYMMETRIC;
    if (this.AUTH_ALGORITHMS.every((algorithm) => suitable.includes(algorithm))) return [];
    const kind = this.usesKeySet() ? 'a key set' : 'a secret';
    const allowed = `hold only algorithms that suit ${kind}: ${suitable.join(', ')}`;
    return [{ variable: 'AUTH_ALGORITHMS', allowed }];
  }
}

/** Where the keys that verify tokens come from. */
export type AuthKeys =
  | { kind: 'secret'; secret: string }
  | { kind: 'jwks-url'; url: string }
  | { kind: 'jwks-file'; path: string };

export interface AuthConfig {
  keys: AuthKeys;
  issuer?: string;
  audience?: string;
  /** Seconds between two looks at a key set. */
  jwksRefreshSeconds?: number;
  /** Never empty, and only algorithms that suit the kind of key. */
  algorithms: string[];
}

function keysOf(env: AuthEnv, environment: Environment): AuthKeys {
  if (env.AUTH_JWKS_URL !== undefined) return { kind: 'jwks-url', url: env.AUTH_JWKS_URL };
  if (env.AUTH_JWKS_FILE !== undefined) return { kind: 'jwks-file', path: env.AUTH_JWKS_FILE };
  const secret = env.AUTH_JWT_SECRET ?? developmentSecret(readEnv(ServerEnv, environment).DATA_DIR);
  return { kind: 'secret', secret };
}

/** Settings of token verification; makes the development secret when there is none. Throws a ConfigError. */
export const authConfig = registerAs('auth', (environment = loadEnvironment()): AuthConfig => {
  const env = readEnv(AuthEnv, environment);
  const keys = keysOf(env, environment);
  const suitable = keys.kind === 'secret' ? DEFAULT_SYMMETRIC : DEFAULT_PUBLIC_KEY;
  return {
    keys,
    jwksRefreshSeconds: env.AUTH_JWKS_REFRESH_SECONDS,
    issuer: env.AUTH_ISSUER,
    audience: env.AUTH_AUDIENCE,
    algorithms: env.AUTH_ALGORITHMS.length > 0 ? env.AUTH_ALGORITHMS : [...suitable],
  };
});
