import { plainToInstance } from 'class-transformer';
import { validateSync } from 'class-validator';
import { ConfigError, type Violation } from './config.error';
import type { Environment, Profile } from './load-environment';
import { variablesOf } from './variable.decorators';

/** A fault that shows only when variables, or a variable and the profile, are seen together. */
export interface Conflict {
  variable: string;
  /** Follows "it must". */
  allowed: string;
  /** The variable it was compared with, if any; a fault in that one makes the comparison meaningless. */
  comparedWith?: string;
}

/** The variables of one concern: a property for each, named as the variable, with a decorator that says what is allowed. */
export abstract class EnvVariables {
  /** What is wrong although every variable alone is fine. Conflicts of variables with a fault of their own are left out. */
  findConflicts?(profile: Profile): Conflict[];
}

/** The typed, validated variables of one concern. Throws a ConfigError that holds all of their faults. */
export function readEnv<T extends EnvVariables>(
  EnvClass: new () => T,
  { env, profile }: Environment,
): T {
  const masks = variablesOf(EnvClass);
  const texts = Object.fromEntries([...masks.keys()].map((name) => [name, env[name]]));
  const settings = plainToInstance(EnvClass, texts);
  const faultOf = ({ variable, allowed }: Conflict): Violation => {
    const text = env[variable];
    return { variable, value: text ? masks.get(variable)?.(text) : undefined, allowed };
  };
  const faults = validateSync(settings, { forbidUnknownValues: true }).map(
    ({ property, constraints = {} }) =>
      faultOf({ variable: property, allowed: Object.values(constraints).join('; ') }),
  );
  const faulty = new Set(faults.map(({ variable }) => variable));
  const conflicts = (settings.findConflicts?.(profile) ?? [])
    .filter(({ variable, comparedWith = '' }) => !faulty.has(variable) && !faulty.has(comparedWith))
    .map(faultOf);
  if (faults.length + conflicts.length > 0) throw new ConfigError([...faults, ...conflicts]);
  return settings;
}
