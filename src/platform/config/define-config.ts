import { type ConfigObject, registerAs } from '@nestjs/config';
import { ConfigError, type Violation } from './config.error';
import { type Environment, loadEnvironment, type Profile } from './load-environment';
import type { Variable } from './variables';

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
      const value = text ? variable.convert(text) : undefined;
      if (!variable.accepts(value)) faulty.add(variable.name);
      return [key, value];
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
