import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { findProbableTypos } from './unknown-variables';

/** One variable that prevents a start. */
export interface Violation {
  variable: string;
  /** Masked value, or undefined when not set. */
  value: string | undefined;
  /** Follows "must": `be an integer from 0 to 65535`. */
  allowed: string;
}

const SHOWN_CHARACTERS = 120;

function quote(value: string): string {
  const cut = value.length > SHOWN_CHARACTERS ? `${value.slice(0, SHOWN_CHARACTERS)}…` : value;
  return JSON.stringify(cut);
}

function describe({ variable, value, allowed }: Violation): string {
  return value === undefined
    ? `${variable} is not set: it must ${allowed}`
    : `${variable}=${quote(value)}: it must ${allowed}`;
}

/**
 * One line per fault with variable, masked value and what is allowed. `warnings` name probable typos: a missing
 * variable may be misspelt.
 */
export class ConfigError extends Error {
  readonly violations: readonly Violation[];

  constructor(
    faults: readonly Violation[],
    readonly warnings: readonly string[] = [],
  ) {
    super(faults.map(describe).join('\n'));
    this.name = 'ConfigError';
    this.violations = faults;
  }
}

/** `NODE_ENV` selects a profile and its file `config/<profile>.env`. */
export const PROFILES = ['development', 'staging', 'production', 'test'] as const;
export type Profile = (typeof PROFILES)[number];

/** The folder of package.json, parent of `src` and `dist`, base of relative paths. */
export const PACKAGE_ROOT = resolve(__dirname, '..', '..', '..');

/** The version in package.json. */
export function packageVersion(): string {
  const text = readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

export type Variables = Readonly<Partial<Record<string, string>>>;

/** The settings as text, before validation. */
export interface Environment {
  profile: Profile;
  /** `config/default.env`, overridden by the profile's file, then by the real environment. */
  env: Variables;
  /** Probable typos, one line each. Lazy, as it takes longer than the rest. */
  findTypos: () => string[];
}

export function readEnvFile(name: string): Variables {
  return parseEnv(readFileSync(join(PACKAGE_ROOT, 'config', `${name}.env`), 'utf8'));
}

function profileOf(variables: Variables): Profile {
  const name = variables.NODE_ENV || 'development';
  const profile = PROFILES.find((candidate) => candidate === name);
  if (profile) return profile;
  throw new ConfigError([
    { variable: 'NODE_ENV', value: name, allowed: `be one of ${PROFILES.join(', ')}` },
  ]);
}

/** Variables that may be given as the path of a file instead, in `<name>_FILE`, as Docker and Kubernetes mount secrets. */
const SECRETS = [
  'DATABASE_URL',
  'DATABASE_REPLICA_URLS',
  'REDIS_URL',
  'AUTH_JWT_SECRET',
  'AUTH_JWT_SECRET_PREVIOUS',
  'ALERT_WEBHOOK_URL',
  'ALERT_WEBHOOK_SECRET',
  'OTEL_EXPORTER_OTLP_HEADERS',
];

/** The secrets in files, without a newline at the end. @throws ConfigError for files that cannot be read, and for both. */
function secretsInFiles(processEnv: Variables): Variables {
  const found: Record<string, string> = {};
  const faults: Violation[] = [];
  for (const name of SECRETS) {
    const variable = `${name}_FILE`;
    const value = processEnv[variable];
    if (!value) continue;
    if (processEnv[name]) {
      faults.push({ variable, value, allowed: `be empty while ${name} is set` });
      continue;
    }
    try {
      found[name] = readFileSync(resolve(PACKAGE_ROOT, value), 'utf8').replace(/\r?\n$/, '');
    } catch {
      faults.push({ variable, value, allowed: `be a readable file with the value of ${name}` });
    }
    if (found[name] === '')
      faults.push({ variable, value, allowed: 'be a file that is not empty' });
  }
  if (faults.length > 0) throw new ConfigError(faults);
  return found;
}

/** Most programs take these in either case; the one that is not empty applies, upper case first. */
function lowerCaseProxies(processEnv: Variables): Variables {
  const names = ['HTTPS_PROXY', 'HTTP_PROXY', 'NO_PROXY'];
  return Object.fromEntries(names.map((name) => [name, processEnv[name.toLowerCase()]]));
}

/** A developer's own settings: these profiles alone read it. */
const DEVELOPER_PROFILES: readonly Profile[] = ['development', 'test'];
const DEVELOPER_FILE = join(PACKAGE_ROOT, '.env');

/**
 * The variables of `.env`, without those that the environment has, be it in the other form of a secret. Empty without the
 * file.
 * @throws ConfigError for a file that cannot be read, and for another NODE_ENV, which would come too late.
 */
function developerVariables(processEnv: Variables, profile: Profile, file: string): Variables {
  if (!DEVELOPER_PROFILES.includes(profile)) return {};
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw new ConfigError([{ variable: '.env', value: file, allowed: 'be a readable file' }]);
  }
  const { NODE_ENV, ...variables } = parseEnv(text) as Variables;
  if (NODE_ENV && NODE_ENV !== profile) {
    const allowed = `be empty in .env: the environment selects the profile, which is ${profile}`;
    throw new ConfigError([{ variable: 'NODE_ENV', value: NODE_ENV, allowed }]);
  }
  const isSet = (name: string) => Boolean(processEnv[name]);
  return Object.fromEntries(
    Object.entries(variables).filter(([name]) => {
      const secret = name.replace(/_FILE$/, '');
      return (
        !isSet(name) && !(SECRETS.includes(secret) && (isSet(secret) || isSet(`${secret}_FILE`)))
      );
    }),
  );
}

/**
 * Merges `config/default.env`, the profile's file, in development and tests `.env`, and the environment, later ones
 * winning; empty variables of the environment count as unset.
 * @throws ConfigError when NODE_ENV names no profile.
 */
export function loadEnvironment(
  realEnv: Variables = process.env,
  developerFile = DEVELOPER_FILE,
): Environment {
  const profile = profileOf(realEnv);
  const developer = developerVariables(realEnv, profile, developerFile);
  // Empty variables of the environment count as unset.
  const given = Object.entries(realEnv).filter(([name, value]) => value || !developer[name]);
  const processEnv: Variables = { ...developer, ...Object.fromEntries(given) };
  const defaults = readEnvFile('default');
  const own = readEnvFile(profile);
  const files = { ...defaults, ...own };
  const secrets = secretsInFiles(processEnv);
  const set = [lowerCaseProxies(processEnv), secrets, processEnv]
    .flatMap(Object.entries)
    .filter(([, value]) => value !== undefined && value !== '');
  const names = [...new Set([...Object.keys(files), ...Object.keys(processEnv)])].filter(
    (name) => !SECRETS.some((one) => name === `${one}_FILE`),
  );
  return {
    profile,
    env: { ...files, ...Object.fromEntries(set) },
    findTypos: () =>
      findProbableTypos(names, Object.keys(defaults), [
        ...Object.keys(own),
        ...Object.keys(developer).filter((name) => names.includes(name)),
      ]),
  };
}
