import 'reflect-metadata';
import {
  Validate,
  ValidateNested,
  ValidatorConstraint,
  type ValidationArguments,
  type ValidatorConstraintInterface,
} from 'class-validator';
import { exactJsonText, hasExactNumbers } from '../platform/runtime/lossless-json';

/** Words that follow the path of a value ("must be …"), or of a member inside it. */
export type Violation = string | { at: string; message: string };

/** Undefined when the value is valid. */
export type Rule = (value: unknown) => Violation | undefined;

const ARRAY_ADVICE = Symbol('advice against an array');

/** Tells a client that sends an array as this body what to send. */
export const InsteadOfArray =
  (advice: string): ClassDecorator =>
  (dto) =>
    Reflect.defineMetadata(ARRAY_ADVICE, advice, dto);

export function arrayAdviceOf(dto: new () => object): string | undefined {
  return Reflect.getMetadata(ARRAY_ADVICE, dto) as string | undefined;
}

/** The one class-validator constraint; the compiled validator calls rules directly. */
@ValidatorConstraint({ name: 'rule' })
export class RuleConstraint implements ValidatorConstraintInterface {
  validate(value: unknown, { constraints }: ValidationArguments): boolean {
    return (constraints[0] as Rule)(value) === undefined;
  }

  defaultMessage({ constraints, value, property }: ValidationArguments): string {
    const violation = (constraints[0] as Rule)(value);
    return typeof violation === 'object'
      ? `${property}${violation.at} ${violation.message}`
      : `${property} ${violation ?? ''}`;
  }
}

/** Applies a rule to a property, or with `each` to its elements. */
export function Check(rule: Rule, options?: { each?: boolean }): PropertyDecorator {
  return Validate(RuleConstraint, [rule], options);
}

const OBJECT_RULE = Symbol('rule of a whole object');

/** A rule of an object whose members are valid. A violation inside it has a path such as `.name`. */
export type ObjectRule<T> = (value: T) => Violation | undefined;

/** Applies a rule to each object of this class, such as one about two of its members. */
export const CheckObject =
  <T extends object>(rule: ObjectRule<T>): ((dto: new () => T) => void) =>
  (dto) =>
    Reflect.defineMetadata(OBJECT_RULE, rule, dto);

export function objectRuleOf(dto: new () => object): ObjectRule<object> | undefined {
  return Reflect.getMetadata(OBJECT_RULE, dto) as ObjectRule<object> | undefined;
}

const NESTED_TYPE = Symbol('nested type');

/** Validates an object (with `each`: every element) by its DTO class. */
export function Nested(
  typeOf: () => new () => object,
  options: { each?: boolean } = {},
): PropertyDecorator {
  return (target, property) => {
    ValidateNested(options)(target, property);
    Reflect.defineMetadata(NESTED_TYPE, typeOf, target, property);
  };
}

export function nestedTypeOf(
  dto: new () => object,
  property: string,
): (() => new () => object) | undefined {
  return Reflect.getMetadata(NESTED_TYPE, dto.prototype as object, property) as
    (() => new () => object) | undefined;
}

/** PostgreSQL has no NUL, UTF-8 has no lone surrogates. */
function textViolation(value: string): string | undefined {
  if (value.includes('\0')) return 'must not contain NUL characters (U+0000)';
  if (!value.isWellFormed()) return 'must not contain lone surrogates (U+D800 to U+DFFF)';
  return undefined;
}

/** Text of `min` to `max` code points, without NUL and lone surrogates. */
export function text(max: number, min = 0): Rule {
  const allowed =
    min > 0 ? `text of ${min} to ${max} characters` : `text of at most ${max} characters`;
  return (value) => {
    if (typeof value !== 'string') return `must be ${allowed}`;
    // A string has at most as many characters as code units, and at least half as many.
    if (
      value.length < min ||
      (value.length > max && (value.length > 2 * max || count(value) > max))
    ) {
      return `must be ${allowed}`;
    }
    return textViolation(value);
  };
}

function count(value: string): number {
  return [...value].length;
}

/** One of these words, exactly. */
export function oneOf(words: readonly string[]): Rule {
  const set = new Set<unknown>(words);
  return (value) => (set.has(value) ? undefined : `must be one of ${words.join(', ')}`);
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** A UUID of any version in its usual form. */
export const uuid: Rule = (value) =>
  typeof value === 'string' && UUID.test(value)
    ? undefined
    : 'must be a UUID such as 0198c1f2-3e4a-7000-8000-1234567890ab';

/** A whole number; the message does not name MAX_SAFE_INTEGER. */
export function integer(min: number, max: number): Rule {
  const allowed = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
  return (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
      ? undefined
      : `must be a whole number ${allowed}`;
}

export const flag: Rule = (value) =>
  typeof value === 'boolean' ? undefined : 'must be true or false';

/** An array of `min` to `max` elements. */
export function list(min: number, max = Infinity): Rule {
  const least = `at least ${min} ${min === 1 ? 'element' : 'elements'}`;
  const allowed = max === Infinity ? least : `${min} to ${max} elements`;
  return (value) =>
    Array.isArray(value) && value.length >= min && value.length <= max
      ? undefined
      : `must be an array of ${allowed}`;
}

/** As `jsonValue` for an object. */
export function jsonObject(maxBytes: number, maxDepth: number): Rule {
  const rule = jsonValue(maxBytes, maxDepth);
  return (value) =>
    typeof value !== 'object' || value === null || Array.isArray(value)
      ? 'must be a JSON object'
      : rule(value);
}

/**
 * A JSON object or list of at most `maxDepth` levels (itself the first) and `maxBytes` of minified UTF-8, with storable
 * texts.
 */
export function jsonValue(maxBytes: number, maxDepth: number): Rule {
  return (value) => {
    if (typeof value !== 'object' || value === null) return 'must be a JSON object or array';
    const budget = { bytesLeft: maxBytes };
    const violation = nestedViolation(value, maxDepth, budget);
    if (violation === TOO_LARGE) return `must be at most ${maxBytes} bytes of JSON`;
    if (violation?.message === TOO_DEEP)
      return { ...violation, message: `${TOO_DEEP}: at most ${maxDepth} levels` };
    if (violation) return violation;
    // Most values are too small to need serializing.
    const bytesAtLeast = maxBytes - budget.bytesLeft;
    if (bytesAtLeast * MAX_EXPANSION <= maxBytes && !hasExactNumbers(value)) return undefined;
    const size = Buffer.byteLength(exactJsonText(value));
    return size > maxBytes ? `must be at most ${maxBytes} bytes of JSON, not ${size}` : undefined;
  };
}

/** Ratio of JSON text to nestedViolation's count: a number of 25 characters counts as one. */
const MAX_EXPANSION = 32;

interface PathViolation {
  at: string;
  message: string;
}

const TOO_LARGE: PathViolation = { at: '', message: '' };
const TOO_DEEP = 'is nested too deeply';

/**
 * The first violation in a JSON value. Each node takes its least length from `budget`, so that the walk of a far too
 * large value stops early. Paths are built only for a violation, on the way back.
 */
function nestedViolation(
  value: unknown,
  depthLeft: number,
  budget: { bytesLeft: number },
): PathViolation | undefined {
  budget.bytesLeft -= typeof value === 'string' ? value.length + 2 : 1;
  if (budget.bytesLeft < 0) return TOO_LARGE;
  if (typeof value === 'string') return violationAt('', textViolation(value));
  if (typeof value !== 'object' || value === null) return undefined;
  if (depthLeft === 0) return { at: '', message: TOO_DEEP };
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) {
      const violation = nestedViolation(value[index], depthLeft - 1, budget);
      if (violation) return atStep(`[${index}]`, violation);
    }
    return undefined;
  }
  for (const key of Object.keys(value)) {
    budget.bytesLeft -= key.length + 3;
    const violation =
      violationAt('', textViolation(key), '(its name) ') ??
      nestedViolation((value as Record<string, unknown>)[key], depthLeft - 1, budget);
    if (violation) return atStep(memberPath(key), violation);
  }
  return undefined;
}

function violationAt(
  at: string,
  message: string | undefined,
  prefix = '',
): PathViolation | undefined {
  return message === undefined ? undefined : { at, message: `${prefix}${message}` };
}

function atStep(step: string, violation: PathViolation): PathViolation {
  if (violation === TOO_LARGE) return violation;
  return { at: `${step}${violation.at}`, message: violation.message };
}

const PLAIN_NAME = /^[A-Za-z_$][\w$]{0,63}$/;

/** `.name`, or `["odd name"]` shortened to a readable length. */
export function memberPath(name: string): string {
  if (PLAIN_NAME.test(name)) return `.${name}`;
  return `[${JSON.stringify(name.length > 64 ? `${name.slice(0, 64)}…` : name)}]`;
}
