import { parse } from 'node:querystring';
import 'reflect-metadata';
import { type FieldError, validationFailed } from '../platform/errors/app-error';

interface Coercion {
  /** Returns text that it cannot convert unchanged, for the rules to refuse. */
  (text: string): unknown;
  isList?: true;
}

const COERCIONS = Symbol('query coercions');

function coerced(coercion: Coercion): PropertyDecorator {
  return (target, property) => {
    const inherited = Reflect.getMetadata(COERCIONS, target) as Map<string, Coercion> | undefined;
    const own = new Map(inherited).set(String(property), coercion);
    Reflect.defineMetadata(COERCIONS, own, target);
  };
}

export const QueryText = (): PropertyDecorator => coerced((text) => text);

/** A plain decimal integer: no sign but minus, no exponent, no white space. */
export const QueryInteger = (): PropertyDecorator =>
  coerced((text) => (/^-?\d{1,15}$/.test(text) ? Number(text) : text));

/** `true` or `false`. */
export const QueryFlag = (): PropertyDecorator =>
  coerced((text) => (text === 'true' ? true : text === 'false' ? false : text));

const listCoercion: Coercion = Object.assign((text: string) => splitList(text), {
  isList: true as const,
});

/**
 * A list: one comma-separated value, in which `\,` is a comma inside an element; or the parameter repeated, each value
 * one element as it is, as URL libraries write lists.
 */
export const QueryList = (): PropertyDecorator => coerced(listCoercion);

/**
 * Splits at commas. A comma after an odd number of backslashes belongs to its element; backslashes before a comma come
 * in pairs (`\\` is one). Elsewhere a backslash is itself: `CORP\alice` needs no escaping.
 */
export function splitList(text: string): string[] {
  const elements: string[] = [];
  let element = '';
  let start = 0;
  for (let comma = text.indexOf(','); comma !== -1; comma = text.indexOf(',', start)) {
    let backslashes = 0;
    while (comma - backslashes > start && text[comma - backslashes - 1] === '\\') backslashes += 1;
    element += text.slice(start, comma - backslashes) + '\\'.repeat(backslashes >> 1);
    if (backslashes % 2 === 1) {
      element += ',';
    } else {
      elements.push(element);
      element = '';
    }
    start = comma + 1;
  }
  elements.push(element + text.slice(start));
  return elements;
}

/**
 * Converts a query for a DTO class. Unknown and empty parameters, and repeated ones that are no lists, are violations: a
 * filter that is silently ignored shows the wrong records.
 */
export function coerceQuery(
  dto: new () => object,
  query: Record<string, unknown>,
): { value: Record<string, unknown>; errors: FieldError[] } {
  const coercions = (Reflect.getMetadata(COERCIONS, dto.prototype as object) ?? new Map()) as Map<
    string,
    Coercion
  >;
  const value: Record<string, unknown> = {};
  const errors: FieldError[] = [];
  for (const [name, given] of Object.entries(query)) {
    const coercion = coercions.get(name);
    const path = name.length > MAX_NAME_SHOWN ? `${name.slice(0, MAX_NAME_SHOWN)}…` : name;
    if (!coercion) {
      errors.push({ path, message: unknownMessage(name, coercions) });
    } else if (typeof given !== 'string') {
      if (coercion.isList) value[name] = given;
      else errors.push({ path, message: 'must be given once' });
    } else if (given === '') {
      errors.push({ path, message: 'must not be empty; leave the parameter out instead' });
    } else {
      value[name] = coercion(given);
    }
  }
  return { value, errors: errors.slice(0, 50) };
}

function unknownMessage(name: string, known: ReadonlyMap<string, Coercion>): string {
  const list = name.replace(/\[\d*\]$/, '');
  if (list !== name && known.get(list)?.isList) {
    return `is not a known parameter; repeat ${list} without brackets, or separate its values by commas`;
  }
  return `is not a known parameter; allowed: ${[...known.keys()].join(', ') || 'none'}`;
}

const MAX_NAME_SHOWN = 100;

/**
 * Parses repeated names as arrays; `[]` in a name has no meaning.
 * @throws URIError on a malformed percent-encoding, which `node:querystring` would change silently.
 */
export function parseQuery(query: string | null | undefined): Record<string, unknown> {
  if (!query) return {};
  decodeURIComponent(query.replaceAll('+', ' '));
  return parse(query, '&', '=', { maxKeys: 0 });
}

/**
 * Refuses repeated parameters: parsers differ, and a proxy may have checked the other value. Routes with a query DTO do
 * the same (coerceQuery).
 * @throws AppError VALIDATION_FAILED, naming each such parameter.
 */
export function requireSingleParameters(target: string): void {
  const queryAt = target.indexOf('?');
  if (queryAt === -1) return;
  const names = [...new URLSearchParams(target.slice(queryAt + 1)).keys()];
  const seen = new Set<string>();
  const repeated = new Set(names.filter((name) => seen.size === seen.add(name).size));
  if (repeated.size === 0) return;
  const errors = [...repeated].slice(0, 50).map((name) => ({
    path: name.slice(0, MAX_NAME_SHOWN),
    message: 'must be given once',
  }));
  throw validationFailed(errors);
}
