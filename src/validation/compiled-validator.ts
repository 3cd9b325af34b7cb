import 'reflect-metadata';
import {
  getMetadataStorage,
  ValidationTypes,
  type ValidationArguments,
  type ValidatorConstraintInterface,
} from 'class-validator';
import type { FieldError } from '../platform/errors/app-error';
import {
  arrayAdviceOf,
  memberPath,
  nestedTypeOf,
  objectRuleOf,
  type Rule,
  RuleConstraint,
  type Violation,
} from './constraints';

type Dto = new () => object;
type Check = (value: unknown, path: string, errors: FieldError[]) => void;
type ValidationMetadata = ReturnType<
  ReturnType<typeof getMetadataStorage>['getTargetValidationMetadatas']
>[number];

/** A body may have a million unknown members. */
const MAX_UNKNOWN_NAMED = 20;
/** Violations after which each element names only its first, so that a response stays in proportion. */
const MAX_VIOLATIONS = 30_000;

const compiled = new Map<Dto, Check>();

/**
 * Violations of a DTO class, at most one for each member; unknown members are violations. The class-validator
 * decorators are compiled once into plain calls.
 */
export function validate(dto: Dto, value: unknown): FieldError[] {
  const errors: FieldError[] = [];
  checkOf(dto)(value, '', errors);
  return errors;
}

function checkOf(dto: Dto): Check {
  let check = compiled.get(dto);
  if (!check) compiled.set(dto, (check = compile(dto)));
  return check;
}

function compile(dto: Dto): Check {
  const storage = getMetadataStorage();
  const all = storage.getTargetValidationMetadatas(dto, '', false, false);
  const byProperty = storage.groupByPropertyName(all);
  const members = Object.entries(byProperty).map(
    ([name, metadata]) => [name, compileMember(dto, name, metadata)] as const,
  );
  const known = new Set(members.map(([name]) => name));
  const allowed = `is not a known property; allowed: ${[...known].join(', ')}`;
  const single = `send one object; allowed members: ${[...known].join(', ')}`;
  const advice = `, not an array; ${arrayAdviceOf(dto) ?? single}`;
  const ofObject = objectRuleOf(dto);
  return (value, path, errors) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      const isBody = path === '' && Array.isArray(value);
      errors.push({ path, message: `must be a JSON object${isBody ? advice : ''}` });
      return;
    }
    const record = value as Record<string, unknown>;
    const before = errors.length;
    let unknown = 0;
    for (const key of Object.keys(record)) {
      if (known.has(key)) continue;
      unknown += 1;
      if (unknown <= MAX_UNKNOWN_NAMED) errors.push({ path: join(path, key), message: allowed });
    }
    if (unknown > MAX_UNKNOWN_NAMED) {
      errors.push({ path, message: `has ${unknown - MAX_UNKNOWN_NAMED} more unknown properties` });
    }
    for (const [name, check] of members) {
      const member = Object.hasOwn(record, name) ? record[name] : undefined;
      check(member, path === '' ? name : `${path}.${name}`, errors);
    }
    if (!ofObject || errors.length > before) return;
    const violation = ofObject(value);
    if (violation !== undefined) errors.push(fieldErrorOf(violation, path));
  };
}

function fieldErrorOf(violation: Violation, path: string): FieldError {
  if (typeof violation === 'string') return { path, message: violation };
  const { at, message } = violation;
  return { path: path === '' && at.startsWith('.') ? at.slice(1) : `${path}${at}`, message };
}

function join(path: string, key: string): string {
  const member = memberPath(key);
  return path === '' && member.startsWith('.') ? member.slice(1) : `${path}${member}`;
}

function compileMember(dto: Dto, name: string, metadata: ValidationMetadata[]): Check {
  const optional = metadata.some(({ type }) => type === ValidationTypes.CONDITIONAL_VALIDATION);
  const checks = metadata
    .filter(({ type }) => type !== ValidationTypes.CONDITIONAL_VALIDATION)
    .filter(({ type }) => type !== ValidationTypes.WHITELIST)
    // Nested checks assume the right shape, so they come last.
    .sort((a, b) => Number(isNested(a)) - Number(isNested(b)))
    .map((one) => (isNested(one) ? nested(dto, name, one.each) : constraint(dto, one)));
  return (value, path, errors) => {
    if (value === undefined || value === null) {
      if (!optional) errors.push({ path, message: 'is required' });
      return;
    }
    const before = errors.length;
    for (const check of checks) {
      check(value, path, errors);
      if (errors.length > before) return;
    }
  };
}

function isNested({ type }: ValidationMetadata): boolean {
  return type === ValidationTypes.NESTED_VALIDATION;
}

function nested(dto: Dto, name: string, each: boolean): Check {
  const typeOf = nestedTypeOf(dto, name);
  if (!typeOf) throw new TypeError(`${dto.name}.${name} is nested but lacks @Nested(() => …)`);
  if (!each) return (value, path, errors) => checkOf(typeOf())(value, path, errors);
  return (value, path, errors) => {
    if (!Array.isArray(value)) {
      errors.push({ path, message: 'must be an array' });
      return;
    }
    const check = checkOf(typeOf());
    value.forEach((element, index) => {
      if (errors.length < MAX_VIOLATIONS) return check(element, `${path}[${index}]`, errors);
      const own: FieldError[] = [];
      check(element, `${path}[${index}]`, own);
      errors.push(...own.slice(0, 1));
    });
  };
}

function constraint(dto: Dto, metadata: ValidationMetadata): Check {
  const rule =
    metadata.constraintCls === RuleConstraint
      ? (metadata.constraints[0] as Rule)
      : foreignRule(dto, metadata);
  const one: Check = (value, path, errors) => {
    const violation = rule(value);
    if (violation !== undefined) errors.push(fieldErrorOf(violation, path));
  };
  if (!metadata.each) return one;
  return (value, path, errors) => {
    if (!Array.isArray(value)) {
      errors.push({ path, message: 'must be an array' });
      return;
    }
    value.forEach((element, index) => one(element, `${path}[${index}]`, errors));
  };
}

function foreignRule(dto: Dto, metadata: ValidationMetadata): Rule {
  const [found] = getMetadataStorage().getTargetValidatorConstraints(metadata.constraintCls);
  if (!found) throw new TypeError(`${dto.name}.${metadata.propertyName} has an unknown constraint`);
  const instance: ValidatorConstraintInterface = found.instance;
  return (value) => {
    const args: ValidationArguments = {
      value,
      constraints: metadata.constraints,
      targetName: dto.name,
      object: {},
      property: metadata.propertyName,
    };
    if (instance.validate(value, args) === true) return undefined;
    const message = metadata.message ?? instance.defaultMessage?.(args) ?? 'is not valid';
    return (typeof message === 'function' ? message(args) : message).replace('$property ', '');
  };
}
