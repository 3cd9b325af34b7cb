import {
  _,
  Ajv2020,
  type CodeKeywordDefinition,
  type ErrorObject,
  type FuncKeywordDefinition,
  type KeywordDefinition,
  type ValidateFunction,
} from 'ajv/dist/2020';
import type { DataValidationCxt } from 'ajv/dist/types';
import type { FieldError } from '../../platform/errors/app-error';
import type { InexactNumbers } from '../../platform/runtime/lossless-json';
import { memberPath } from '../../validation/constraints';
import { noteWork, TooMuchWork, withinWork, WORK_PER_MS } from './check-work';
import { compareDecimals, decimalOf, isIntegral, isMultiple } from './decimal';
import { canonicalText, numberTextAt, type Place } from './json-literal';
import { MAX_MATCHED_CHARACTERS, Pattern } from './pattern';
import {
  type Bound,
  BRANCHES,
  type Literal,
  type Schema,
  SINGLE_SUBSCHEMAS,
  SIZE_BOUNDS,
  subschemasOf,
} from './schema-document';

/** Faults of one event that are named: those of the branches of `anyOf` come together. */
const MAX_FAULTS = 20;
/** Characters of allowed values in a message. */
const MAX_VALUES_CHARACTERS = 200;

/** Work of a check of the search for faults, which ends without one after 50 000: each branch that fails is an object. */
const SEARCH_WORK = 80;
/** Work for a character of a value that is compared as text, and of a number that is compared by its digits. */
const TEXT_WORK = 2;
const DIGIT_WORK = 4;
/** ajv compares a value with one after the other, and 8000 values with each of 40 000 elements take three seconds. */
const MAX_COMPARED_VALUES = 16;

/** A value with its place in the object or list around it. */
type Check = (
  value: unknown,
  holder: object,
  key: string | number,
  inexact: InexactNumbers | undefined,
) => boolean;

interface Operand {
  check: Check;
  message: string;
}

/** Numbers of the value being checked that a double changes: checks are synchronous. */
let inexactNow: InexactNumbers | undefined;

/**
 * A schema as functions that ajv has compiled. Events that match, most of them, make no objects; for the others a second
 * function finds the first fault (`allErrors` would collect one for each of 130 000 elements).
 */
export class CompiledSchema {
  private readonly isValid: (value: object) => boolean;
  private explain: ValidateFunction | undefined;

  constructor(private readonly schema: Schema) {
    // ajv makes no errors within `not`.
    this.isValid = newAjv(schema, QUICK_CHECK).compile({ not: { not: toAjv(schema) } });
  }

  /** Undefined for a valid value. Paths are such as `metadata.tags[0]`. */
  faultsOf(value: object, inexact?: InexactNumbers): FieldError[] | undefined {
    inexactNow = inexact;
    try {
      return withinWork(() => this.isValid(value)) ? undefined : this.explained(value);
    } catch (error) {
      if (error instanceof TooMuchWork) return NOT_CHECKED;
      throw error;
    } finally {
      inexactNow = undefined;
    }
  }

  private explained(value: object): FieldError[] {
    this.explain ??= newAjv(this.schema, EXPLAINED_CHECK).compile(toAjv(this.schema));
    const { explain } = this;
    try {
      if (withinWork(() => explain(value))) throw new Error('The functions of a schema disagree');
    } catch (error) {
      if (!(error instanceof TooMuchWork)) throw error;
      return NOT_EXPLAINED;
    }
    const errors = explain.errors ?? [];
    explain.errors = null; // refers to parts of the value
    return errors.slice(0, MAX_FAULTS).map((error) => fieldErrorOf(error, value));
  }
}

const NOT_CHECKED: FieldError[] = [
  {
    path: '',
    message: 'is not checked, as that would take too long: it is too large for its schema',
  },
];
const NOT_EXPLAINED: FieldError[] = [
  { path: '', message: 'does not match; where is not said, as it would take too long' },
];

/** Work of an instruction of a pattern for a character, at most. */
const STEP_WORK = 3;

/**
 * A pattern whose matching is work of the value that is checked. A few have states without number, for which each character
 * takes all instructions; others take some nanoseconds for one. Only the time tells which; a stall of the process counts no
 * more than the slowest way.
 */
class CheckedPattern extends Pattern {
  override test(text: string): boolean {
    if (text.length > MAX_MATCHED_CHARACTERS) return false;
    const startedMs = performance.now();
    const isMatch = super.test(text);
    const work = (performance.now() - startedMs) * WORK_PER_MS;
    noteWork(Math.min(work, STEP_WORK * this.steps * text.length));
    return isMatch;
  }
}

/** An instance for each function: its scope keeps what it has compiled, and is freed with the schema. */
function newAjv(schema: Schema, check: KeywordDefinition): Ajv2020 {
  const ajv = new Ajv2020({
    meta: false,
    validateSchema: false,
    validateFormats: false,
    addUsedSchema: false,
    strict: false,
    logger: false,
    // `1e400` is a number, which a double has as Infinity; what it is is decided by its text.
    strictNumbers: false,
    // Names of members are the client's: `constructor` is missing unless it was sent.
    ownProperties: namesPrototypeMember(schema),
    code: { regExp: Object.assign((text: string) => new CheckedPattern(text), { code: '' }) },
  });
  // Ajv2020 turns it on. Schemas have no unevaluated members (schema-document.ts), and the code that tracks them fails with a
  // TypeError for some combinations of oneOf, additionalProperties and patternProperties (ajv 8.20.0).
  ajv.opts.unevaluated = false;
  return ajv.addKeyword(check);
}

const CHECKS = 'auditChecks';

/** The keyword for what ajv does not decide exactly; its operands are functions. */
const QUICK_CHECK: CodeKeywordDefinition = {
  keyword: CHECKS,
  schemaType: 'array',
  code: (context) => {
    const { gen, data, it } = context;
    const operands = context.schema as Operand[];
    if (operands.length === 0) return;
    const ref = (value: unknown, holder: object, key: string | number): boolean =>
      operands.every(({ check }) => check(value, holder, key, inexactNow));
    const called = gen.scopeValue('func', { ref });
    context.fail(_`!${called}(${data}, ${it.parentData}, ${it.parentDataProperty})`);
  },
};

const EXPLAINED_CHECK: FuncKeywordDefinition = {
  keyword: CHECKS,
  schemaType: 'array',
  errors: true,
  compile: (operands: Operand[]) => {
    const validate = (value: unknown, at?: DataValidationCxt): boolean => {
      if (!at) return true;
      noteWork(SEARCH_WORK);
      const failed = operands.find(
        ({ check }) => !check(value, at.parentData as object, at.parentDataProperty, inexactNow),
      );
      if (!failed) return true;
      (validate as { errors?: Partial<ErrorObject>[] }).errors = [
        { keyword: CHECKS, message: failed.message, params: {} },
      ];
      return false;
    };
    return validate;
  },
};

/** The schema for ajv, whose own keywords are those that need no number and no equality of values. */
function toAjv(schema: Schema): object | boolean {
  if (schema.isNever) return false;
  const members: [string, unknown][] = [];
  const checks: Operand[] = [];
  const add = (name: string, value: unknown) => members.push([name, value]);

  if (schema.types) {
    const isInteger = schema.types.has('integer');
    add(
      'type',
      [...schema.types].map((name) => (name === 'integer' ? 'number' : name)),
    );
    if (isInteger) checks.push({ check: checkInteger, message: 'must be integer' });
  }
  if (schema.values) {
    const literals = schema.values.map(({ value }) => value);
    // Of these ajv's comparison is the same.
    const isComparable = literals.length > 0 && literals.length <= MAX_COMPARED_VALUES;
    if (isComparable && literals.every(isPlainLiteral)) add('enum', literals);
    else checks.push(valuesCheck(schema.values));
  }
  checks.push(...numberChecks(schema));
  if (schema.uniqueItems) checks.push(UNIQUE_CHECK);
  checks.push(...lengthChecks(schema));
  for (const name of SIZE_BOUNDS) {
    if (schema[name] !== undefined && !LENGTHS.has(name)) add(name, schema[name]);
  }
  if (schema.pattern) add('pattern', schema.pattern.text);
  if (schema.required) add('required', schema.required);
  if (schema.properties) add('properties', mapped(schema.properties, toAjv));
  if (schema.patternProperties) {
    add(
      'patternProperties',
      mapped(schema.patternProperties, (one) => toAjv(one.schema)),
    );
  }
  if (schema.dependentSchemas) add('dependentSchemas', mapped(schema.dependentSchemas, toAjv));
  if (schema.dependentRequired) {
    add(
      'dependentRequired',
      mapped(schema.dependentRequired, (names) => names),
    );
  }
  if (schema.prefixItems) add('prefixItems', schema.prefixItems.map(toAjv));
  for (const name of BRANCHES) {
    const branches = schema[name];
    if (branches) add(name, branches.map(toAjv));
  }
  for (const name of SINGLE_SUBSCHEMAS) {
    const inner = schema[name];
    if (inner) add(name, toAjv(inner));
  }
  // Without operands it counts.
  add(CHECKS, checks);
  return Object.fromEntries(members);
}

/** True where the schema names a member that every object of JavaScript has. */
function namesPrototypeMember(schema: Schema): boolean {
  const names = [
    ...(schema.required ?? []),
    ...(schema.properties?.keys() ?? []),
    ...(schema.dependentRequired?.keys() ?? []),
    ...[...(schema.dependentRequired?.values() ?? [])].flat(),
    ...(schema.dependentSchemas?.keys() ?? []),
  ];
  return (
    names.some((name) => name in Object.prototype) ||
    subschemasOf(schema).some(namesPrototypeMember)
  );
}

function mapped<T>(map: ReadonlyMap<string, T>, change: (one: T) => unknown): object {
  return Object.fromEntries([...map].map(([name, one]) => [name, change(one)]));
}

const isPlainLiteral = (value: unknown): boolean =>
  typeof value === 'string' || typeof value === 'boolean' || value === null;

const checkInteger: Check = (value, holder, key, inexact) => {
  if (typeof value !== 'number') return true;
  if (!inexact) return Number.isInteger(value);
  return isIntegral(decimalOf(digitsAt(value, { holder, key }, inexact)));
};

function numberChecks(schema: Schema): Operand[] {
  const { minimum, exclusiveMinimum, maximum, exclusiveMaximum, multipleOf } = schema;
  const operands: Operand[] = [];
  const compared = (
    bound: Bound | undefined,
    words: string,
    isAllowed: (order: number) => boolean,
  ) => {
    if (!bound) return;
    const check = boundCheck(bound, isAllowed);
    operands.push({ check, message: `must be ${words} ${bound.text}` });
  };
  compared(minimum, '>=', (order) => order >= 0);
  compared(exclusiveMinimum, '>', (order) => order > 0);
  compared(maximum, '<=', (order) => order <= 0);
  compared(exclusiveMaximum, '<', (order) => order < 0);
  if (multipleOf) {
    const message = `must be multiple of ${multipleOf.text}`;
    operands.push({ check: multipleCheck(multipleOf), message });
  }
  return operands;
}

const LENGTHS = new Set<string>(['minLength', 'maxLength']);

/** Lengths in characters, which are counted only where the code units leave it open: ajv counts for each bound. */
function lengthChecks({ minLength, maxLength }: Schema): Operand[] {
  const operands: Operand[] = [];
  if (minLength !== undefined) {
    const message = `must NOT have fewer than ${minLength} characters`;
    operands.push({ message, check: (value) => !isShorter(value, minLength) });
  }
  if (maxLength !== undefined) {
    const message = `must NOT have more than ${maxLength} characters`;
    operands.push({
      message,
      check: (value) => typeof value !== 'string' || isShorter(value, maxLength + 1),
    });
  }
  return operands;
}

/** True for a text of fewer than `length` characters, of which each has one or two code units. */
function isShorter(value: unknown, length: number): boolean {
  if (typeof value !== 'string' || value.length >= 2 * length) return false;
  if (value.length < length) return true;
  noteWork(value.length);
  let characters = 0;
  for (let at = 0; at < value.length; at += 1) {
    if ((value.codePointAt(at) ?? 0) > 0xffff) at += 1;
    characters += 1;
  }
  return characters < length;
}

/** The text of a number, of which each digit is work. */
function digitsAt(value: number, place: Place, inexact: InexactNumbers | undefined): string {
  const text = numberTextAt(value, place, inexact);
  noteWork(DIGIT_WORK * text.length);
  return text;
}

/** The canonical text of a value, of which each character is work. */
function comparedText(value: unknown, place: Place, inexact: InexactNumbers | undefined): string {
  const text = canonicalText(value, place, inexact);
  const isWord = value === null || typeof value === 'boolean';
  noteWork(isWord ? 1 : TEXT_WORK * text.length);
  return text;
}

/**
 * Doubles compare as the numbers that they were written as: the shortest spellings of two doubles have their order. Where a
 * spelling is another number, the decimals are compared.
 */
function boundCheck({ decimal, text }: Bound, isAllowed: (order: number) => boolean): Check {
  const double = Number(text);
  const isExact = String(double) === text;
  return (value, holder, key, inexact) => {
    if (typeof value !== 'number') return true;
    if (isExact && !inexact) return isAllowed(value === double ? 0 : value < double ? -1 : 1);
    const given = decimalOf(digitsAt(value, { holder, key }, inexact));
    return isAllowed(compareDecimals(given, decimal));
  };
}

function multipleCheck({ decimal, text }: Bound): Check {
  const double = Number(text);
  const isWhole = Number.isSafeInteger(double) && isIntegral(decimal);
  return (value, holder, key, inexact) => {
    if (typeof value !== 'number') return true;
    if (isWhole && !inexact && Number.isSafeInteger(value)) return value % double === 0;
    return isMultiple(decimalOf(digitsAt(value, { holder, key }, inexact)), decimal);
  };
}

/** Not by ajv's comparison, which calls members `valueOf` and `toString` that a client has sent. */
function valuesCheck(values: readonly Literal[]): Operand {
  const texts = new Set<unknown>();
  const others = new Set<string>();
  for (const { value, canonical } of values) {
    if (typeof value === 'string') texts.add(value);
    else others.add(canonical);
  }
  const check: Check = (value, holder, key, inexact) => {
    if (typeof value === 'string') return texts.has(value);
    return others.size > 0 && others.has(comparedText(value, { holder, key }, inexact));
  };
  return { check, message: allowedWords(values.map(({ canonical }) => canonical)) };
}

function allowedWords(texts: readonly string[]): string {
  const named = texts.join(', ');
  const shown =
    named.length > MAX_VALUES_CHARACTERS ? `${named.slice(0, MAX_VALUES_CHARACTERS)}…` : named;
  return texts.length === 1 ? `must be ${shown}` : `must be one of ${shown}`;
}

/** Linear, where ajv compares each two elements. */
const UNIQUE_CHECK: Operand = {
  message: 'must not have equal elements',
  check: (value, _holder, _key, inexact) => {
    if (!Array.isArray(value)) return true;
    const seen = new Set(
      value.map((one, key) => comparedText(one, { holder: value, key }, inexact)),
    );
    return seen.size === value.length;
  },
};

function fieldErrorOf(error: Partial<ErrorObject>, value: object): FieldError {
  const { instancePath = '', keyword, message = 'is not allowed', params = {} } = error;
  const path = pathOf(instancePath, value);
  if (keyword === 'enum') {
    const { allowedValues } = params as { allowedValues: unknown[] };
    return { path, message: allowedWords(allowedValues.map((one) => JSON.stringify(one))) };
  }
  if (keyword === 'additionalProperties') {
    const { additionalProperty } = params as { additionalProperty: string };
    return { path: joined(path, memberPath(additionalProperty)), message: 'is not a property' };
  }
  if (keyword === 'false schema') return { path, message: 'is not allowed' };
  return { path, message };
}

/** The path of a JSON Pointer in this value. */
function pathOf(pointer: string, value: object): string {
  let path = '';
  let inner: unknown = value;
  for (const token of pointer.split('/').slice(1)) {
    const name = token.replaceAll('~1', '/').replaceAll('~0', '~');
    path = joined(path, Array.isArray(inner) ? `[${name}]` : memberPath(name));
    inner = (inner as Record<string, unknown> | undefined)?.[name];
  }
  return path;
}

function joined(path: string, step: string): string {
  return path === '' && step.startsWith('.') ? step.slice(1) : `${path}${step}`;
}
