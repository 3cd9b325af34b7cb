import { type ConfigObject, registerAs } from '@nestjs/config';
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import {
  ConfigError,
  type Environment,
  loadEnvironment,
  PACKAGE_ROOT,
  type Profile,
  type Violation,
} from './load-environment';

/** A fault of a combination of variables, or of a variable and the profile. */
export interface Conflict {
  variable: string;
  /** Follows "it must". */
  allowed: string;
  /** A fault in this variable makes the comparison meaningless. */
  comparedWith?: string;
}

type Declarations = Record<string, Variable<unknown>>;
type TypeOf<V> = V extends Variable<infer T> ? T : never;
type OptionalKeys<D> = { [K in keyof D]: undefined extends TypeOf<D[K]> ? K : never }[keyof D];

export type Settings<D> = { [K in Exclude<keyof D, OptionalKeys<D>>]: TypeOf<D[K]> } & {
  [K in OptionalKeys<D>]?: TypeOf<D[K]>;
};

interface Options<D, C> {
  /** Faults of combinations; dropped for variables with a fault of their own. */
  findConflicts?: (settings: Settings<D>, profile: Profile) => Conflict[];
  /** Computes settings beyond the variables. */
  derive?: (settings: Settings<D>, environment: Environment) => C;
}

/**
 * The settings of one concern: `@Inject(config.KEY)`, or `config()` without an application.
 * @throws ConfigError with all faults.
 */
export function defineConfig<D extends Declarations, C extends ConfigObject = Settings<D>>(
  name: string,
  declarations: D,
  { findConflicts, derive }: Options<D, C> = {},
) {
  const variables = Object.values(declarations);
  const read = ({ env, profile }: Environment): Settings<D> => {
    const violationOf = ({ variable, allowed }: Conflict): Violation => {
      const text = env[variable];
      const mask = variables.find((one) => one.name === variable)?.mask;
      return { variable, value: text ? mask?.(text) : undefined, allowed };
    };
    const faulty = new Set<string>();
    const entries = Object.entries(declarations).map(([key, variable]) => {
      const text = env[variable.name];
      if (!text && variable.whenEmpty) return [key, variable.whenEmpty()];
      const value = text ? variable.parse(text) : undefined;
      if (value === undefined) faulty.add(variable.name);
      // Conflicts are sought with a refused text, or with an empty list for a refused one.
      return [key, value ?? variable.whenEmpty?.() ?? text];
    });
    const settings = Object.fromEntries(entries) as Settings<D>;
    const faults = variables
      .filter((variable) => faulty.has(variable.name))
      .map(({ name: variable, allowed }) => violationOf({ variable, allowed }));
    const conflicts = (findConflicts?.(settings, profile) ?? [])
      .filter(
        ({ variable, comparedWith = '' }) => !faulty.has(variable) && !faulty.has(comparedWith),
      )
      .map(violationOf);
    if (faults.length + conflicts.length > 0) throw new ConfigError([...faults, ...conflicts]);
    return settings;
  };
  const load = (environment = loadEnvironment()): C => {
    const settings = read(environment);
    return derive ? derive(settings, environment) : (settings as unknown as C);
  };
  return Object.assign(registerAs<C, typeof load>(name, load), { variables, read });
}

/** One environment variable. */
export interface Variable<T> {
  name: string;
  /** Undefined for a text that is refused. */
  parse: (text: string) => T | undefined;
  /** Value when empty or unset; without it the variable is required. */
  whenEmpty?: () => T;
  /** Follows "it must". */
  allowed: string;
  /** The text as a message may show it. */
  mask: (text: string) => string;
}

function variable<T>(name: string, allowed: string, parse: Variable<T>['parse']): Variable<T> {
  return { name, allowed, parse, mask: (given) => given };
}

/** Makes a variable optional; empty is undefined. */
export function optional<T>(required: Variable<T>): Variable<T | undefined> {
  const allowed = required.allowed.replace(/^be /, 'be empty or ');
  return { ...required, allowed, whenEmpty: () => undefined };
}

/** Plain decimal digits: no sign, exponent, spaces or leading zeros. */
export function integer(name: string, min: number, max: number): Variable<number> {
  return variable(name, `be an integer from ${min} to ${max}`, (given) => {
    const value = /^(?:0|[1-9]\d*)$/.test(given) ? Number(given) : NaN;
    return Number.isSafeInteger(value) && value >= min && value <= max ? value : undefined;
  });
}

const BYTES_PER_MEBIBYTE = 1024 * 1024;

/** An integer of MiB; bytes in the settings. */
export function mebibytes(name: string, min: number, max: number): Variable<number> {
  const { allowed, parse } = integer(name, min, max);
  return variable(name, allowed, (given) => {
    const count = parse(given);
    return count === undefined ? undefined : count * BYTES_PER_MEBIBYTE;
  });
}

/** `true` or `false`, nothing else. */
export function boolean(name: string): Variable<boolean> {
  return variable(name, 'be true or false', (given) =>
    given === 'true' ? true : given === 'false' ? false : undefined,
  );
}

/** One of a few words, exactly as written. */
export function choice<T extends string>(name: string, choices: readonly T[]): Variable<T> {
  const allowed = `be ${choices.length > 1 ? 'one of ' : ''}${choices.join(', ')}`;
  return variable(name, allowed, (given) => choices.find((each) => each === given));
}

/** Text that matches a pattern; `allowed` words the pattern. */
export function text(name: string, pattern: RegExp, allowed: string): Variable<string> {
  return variable(name, allowed, matching(pattern));
}

/** Optional text, never shown. */
export function secret(name: string): Variable<string | undefined> {
  return { ...optional(text(name, /^/, 'be text')), mask: maskSecret };
}

/** A path, absolute in the settings; relative ones start at the package root. */
export function path(name: string): Variable<string> {
  return variable(name, 'be a path without spaces at its ends', (given) =>
    given.trim() === given ? resolve(PACKAGE_ROOT, given) : undefined,
  );
}

/** A name or address to listen on. */
export function host(name: string): Variable<string> {
  const pattern = /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_][a-z0-9_-]{0,62})*$/i;
  const allowed = 'be an IP address or a host name, such as 0.0.0.0, :: or localhost';
  return variable(name, allowed, (given) =>
    isIP(given) > 0 || pattern.test(given) ? given : undefined,
  );
}

/** A URL of one of the schemes, or empty. */
export function url(name: string, schemes: readonly string[]): Variable<string | undefined> {
  const allowed = `be a URL ${describeUrl(schemes)}`;
  const required = variable(name, allowed, (given) => (isUrl(given, schemes) ? given : undefined));
  return { ...optional(required), mask: maskUrl };
}

/** A URL whose path is never shown either. */
export function secretUrl(name: string, schemes: readonly string[]): Variable<string | undefined> {
  return { ...url(name, schemes), mask: maskPath };
}

/** Comma-separated URLs of one of the schemes, or empty. */
export function urlList(name: string, schemes: readonly string[]): Variable<string[]> {
  const allowed = `be empty or comma-separated URLs, each ${describeUrl(schemes)}`;
  const parse = (given: string): string[] | undefined => {
    const urls = splitList(given);
    return urls.every((url) => isUrl(url, schemes)) ? urls : undefined;
  };
  return { ...variable(name, allowed, parse), whenEmpty: () => [], mask: maskUrlList };
}

/** An `itemOf` of `list`: an origin as browsers send it, of a page (`https://…`) or an installed app (`app://…`). */
export function origin(item: string): string | undefined {
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^/?#@\s*\\]+$/i.test(item) || !URL.canParse(item)) return undefined;
  const parsed = new URL(item);
  return parsed.origin === 'null' ? item.toLowerCase() : parsed.origin;
}

/** Unique comma-separated items, or empty. `itemOf` is undefined for a refused item. */
export function list<T>(
  name: string,
  itemOf: (item: string) => T | undefined,
  allowed: string,
): Variable<T[]> {
  const parse = (given: string): T[] | undefined => {
    const items = [...new Set(splitList(given))].map(itemOf);
    return items.includes(undefined) ? undefined : (items as T[]);
  };
  return { ...variable(name, allowed, parse), whenEmpty: () => [] };
}

/** An `itemOf` of `list`, by pattern. */
export function matching(pattern: RegExp): (item: string) => string | undefined {
  return (item) => (pattern.test(item) ? item : undefined);
}

function splitList(given: string): string[] {
  return given.split(',').map((item) => item.trim());
}

function isUrl(value: string, schemes: readonly string[]): boolean {
  if (/\s/.test(value)) return false;
  if (!schemes.some((scheme) => value.toLowerCase().startsWith(`${scheme}://`))) return false;
  try {
    const parsed = new URL(value);
    // A raw "%" in the credentials parses here and fails in the client that decodes it.
    decodeURIComponent(parsed.username + parsed.password);
    return parsed.host !== '' || parsed.searchParams.has('host');
  } catch {
    return false;
  }
}

function describeUrl(schemes: readonly string[]): string {
  return `of scheme ${schemes.join(' or ')} with a host, special characters percent-encoded`;
}

const MASK = '****';

/** Hides a secret with its length. */
function maskSecret(): string {
  return MASK;
}

/**
 * Masks password and secret query values in text, as most URLs that are shown did not parse: all up to the last `@`
 * counts as credentials, else text after `name:` that is no port.
 */
export function maskUrl(text: string): string {
  const [, scheme = '', rest = text] = /^([a-z][a-z0-9+.-]*:\/\/)?(.*)$/is.exec(text) ?? [];
  return scheme + maskQuery(maskCredentials(rest));
}

function maskCredentials(rest: string): string {
  const at = rest.lastIndexOf('@');
  if (at < 0) return rest.replace(/^([^/?#:]*:)(?!\d{1,5}(?:[/?#]|$))(?!\/\/).+$/s, `$1${MASK}`);
  const credentials = rest.slice(0, at);
  const colon = credentials.indexOf(':');
  return `${colon < 0 ? '' : credentials.slice(0, colon + 1)}${MASK}${rest.slice(at)}`;
}

function maskQuery(rest: string): string {
  return rest.replace(/([?&][^=&]*(?:pass|pwd|secret|token|key)[^=&]*=)[^&#]*/gi, `$1${MASK}`);
}

/** Masks each URL of a list; a comma inside a password does not end its URL. */
export function maskUrlList(text: string): string {
  return text
    .split(/,(?=\s*[a-z][a-z0-9+.-]*:\/\/)/i)
    .map(maskUrl)
    .join(',');
}

/** Keeps scheme and host: the path of a chat webhook is a secret. */
export function maskPath(text: string): string {
  const origin = /^https?:\/\/[^/?#@\s]+(?=[/?#]|$)/i.exec(text)?.[0];
  return origin === undefined ? MASK : `${origin}/${MASK}`;
}
