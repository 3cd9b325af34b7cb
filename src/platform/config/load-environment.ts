import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { ConfigError } from './config.error';
import { findProbableTypos } from './unknown-variables';

/** The profiles; `NODE_ENV` picks one and with it the file `config/<profile>.env`. */
export const PROFILES = ['development', 'staging', 'production', 'test'] as const;
export type Profile = (typeof PROFILES)[number];

/** The folder of package.json: the parent of `src` and of `dist` alike. Relative paths in the settings start here. */
export const PACKAGE_ROOT = resolve(__dirname, '..', '..', '..');

/** Variables by name, as text. */
export type Variables = Readonly<Partial<Record<string, string>>>;

/** The settings as text, before any of them is validated. */
export interface Environment {
  profile: Profile;
  /** Every variable of `config/default.env`, overridden by the profile's file, then by the real environment. */
  env: Variables;
  /** One line for each variable that is probably misspelt. Made when called, as it takes longer than all else here. */
  findTypos: () => string[];
}

/** The variables of one file of `config/`, such as `default`. */
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

/**
 * Merges `config/default.env`, the profile's file and the real environment, later ones winning; an empty variable of
 * the real environment counts as not set. Throws a ConfigError when NODE_ENV names no profile.
 */
export function loadEnvironment(processEnv: Variables = process.env): Environment {
  const profile = profileOf(processEnv);
  const defaults = readEnvFile('default');
  const own = readEnvFile(profile);
  const files = { ...defaults, ...own };
  const set = Object.entries(processEnv).filter(([, value]) => value !== undefined && value !== '');
  const names = [...new Set([...Object.keys(files), ...Object.keys(processEnv)])];
  return {
    profile,
    env: { ...files, ...Object.fromEntries(set) },
    findTypos: () => findProbableTypos(names, Object.keys(defaults), Object.keys(own)),
  };
}
