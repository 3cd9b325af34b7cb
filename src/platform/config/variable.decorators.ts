import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { Transform } from 'class-transformer';
import { IsOptional, ValidateBy } from 'class-validator';
import { PACKAGE_ROOT } from './load-environment';
import { maskPath, maskSecret, maskUrl, maskUrlList } from './masking';

interface VariableRule {
  /** The typed value of a text; one that cannot be converted becomes something that `accepts` refuses, never undefined. */
  convert?: (text: string) => unknown;
  accepts: (value: unknown) => boolean;
  /** Follows "it must". */
  allowed: string;
  /** The empty value is allowed and read as undefined (or as what `whenEmpty` says). */
  optional?: boolean;
  whenEmpty?: () => unknown;
  /** How the value may be shown in a fault; as it is by default. */
  mask?: (text: string) => string;
}

const masks = new WeakMap<object, Map<string, (text: string) => string>>();

/** The variables a class of settings declares, in order, each with the function that makes its value fit to be shown. */
export function variablesOf(settings: {
  prototype: object;
}): ReadonlyMap<string, (text: string) => string> {
  return masks.get(settings.prototype) ?? new Map<string, (text: string) => string>();
}

function variable(rule: VariableRule): PropertyDecorator {
  const { convert, accepts, allowed, optional = false, whenEmpty, mask = (text) => text } = rule;
  const decorators = [
    Transform(({ value }: { value: unknown }) => {
      if (typeof value !== 'string' || value === '') return whenEmpty?.();
      return convert ? convert(value) : value;
    }),
    ValidateBy({
      name: 'allowed',
      validator: { validate: accepts, defaultMessage: () => allowed },
    }),
    ...(optional ? [IsOptional()] : []),
  ];
  return (target, property) => {
    decorators.forEach((decorate) => decorate(target, property));
    const declared = masks.get(target) ?? new Map<string, (text: string) => string>();
    masks.set(target, declared.set(String(property), mask));
  };
}

/** A whole number in plain decimal digits: no sign, no exponent, no spaces, no leading zeros. */
export function IntegerVariable(
  min: number,
  max: number,
  options: { optional?: boolean } = {},
): PropertyDecorator {
  return variable({
    ...options,
    convert: (text) => (/^(?:0|[1-9]\d*)$/.test(text) ? Number(text) : text),
    accepts: (value) => Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max,
    allowed: `be ${options.optional ? 'empty or ' : ''}an integer from ${min} to ${max}`,
  });
}

/** `true` or `false`, nothing else. */
export function BooleanVariable(): PropertyDecorator {
  return variable({
    convert: (text) => (text === 'true' ? true : text === 'false' ? false : text),
    accepts: (value) => typeof value === 'boolean',
    allowed: 'be true or false',
  });
}

/** One of a few words, exactly as written. */
export function ChoiceVariable(choices: readonly string[]): PropertyDecorator {
  return variable({
    accepts: (value) => typeof value === 'string' && choices.includes(value),
    allowed: `be ${choices.length > 1 ? 'one of ' : ''}${choices.join(', ')}`,
  });
}

/** Text that matches a pattern; `allowed` words the pattern and follows "it must". */
export function TextVariable(
  pattern: RegExp,
  allowed: string,
  options: { optional?: boolean } = {},
): PropertyDecorator {
  const accepts = (value: unknown): boolean => typeof value === 'string' && pattern.test(value);
  return variable({ ...options, accepts, allowed });
}

/** A secret of any text; never shown. Empty is read as undefined. */
export function SecretVariable(): PropertyDecorator {
  return variable({
    optional: true,
    accepts: (value) => typeof value === 'string',
    allowed: 'be text',
    mask: maskSecret,
  });
}

/** A path; a relative one starts at the package root, and the value becomes absolute. */
export function PathVariable(options: { optional?: boolean } = {}): PropertyDecorator {
  return variable({
    ...options,
    convert: (text) => (text.trim() === text ? resolve(PACKAGE_ROOT, text) : false),
    accepts: (value) => typeof value === 'string',
    allowed: `be ${options.optional ? 'empty or ' : ''}a path without spaces at its ends`,
  });
}

/** A name or address to listen on. */
export function HostVariable(): PropertyDecorator {
  const name = /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_][a-z0-9_-]{0,62})*$/i;
  return variable({
    accepts: (value) => typeof value === 'string' && (isIP(value) > 0 || name.test(value)),
    allowed: 'be an IP address or a host name, such as 0.0.0.0, :: or localhost',
  });
}

function isUrl(text: unknown, schemes: readonly string[]): boolean {
  if (typeof text !== 'string' || /\s/.test(text)) return false;
  if (!schemes.some((scheme) => text.toLowerCase().startsWith(`${scheme}://`))) return false;
  try {
    const url = new URL(text);
    // A raw "%" in the credentials parses here and fails in the client that decodes it.
    decodeURIComponent(url.username + url.password);
    return url.host !== '' || url.searchParams.has('host');
  } catch {
    return false;
  }
}

function wordUrl(schemes: readonly string[]): string {
  return `of scheme ${schemes.join(' or ')} with a host, special characters percent-encoded`;
}

/** A URL of one of the schemes, or empty. With `secretPath` its path is never shown either. */
export function UrlVariable(
  schemes: readonly string[],
  options: { secretPath?: boolean } = {},
): PropertyDecorator {
  return variable({
    optional: true,
    accepts: (value) => isUrl(value, schemes),
    allowed: `be empty or a URL ${wordUrl(schemes)}`,
    mask: options.secretPath ? maskPath : maskUrl,
  });
}

function splitList(text: string): string[] {
  return text.split(',').map((item) => item.trim());
}

/** Comma-separated URLs of one of the schemes; empty is the empty list. */
export function UrlListVariable(schemes: readonly string[]): PropertyDecorator {
  return variable({
    convert: splitList,
    whenEmpty: () => [],
    accepts: (value) => Array.isArray(value) && value.every((item) => isUrl(item, schemes)),
    allowed: `be empty or comma-separated URLs, each ${wordUrl(schemes)}`,
    mask: maskUrlList,
  });
}

/** Comma-separated items that each match a pattern, repeated ones once; empty is the empty list. */
export function ListVariable(pattern: RegExp, allowed: string): PropertyDecorator {
  return variable({
    convert: (text) => [...new Set(splitList(text))],
    whenEmpty: () => [],
    accepts: (value) =>
      Array.isArray(value) && value.every((item) => typeof item === 'string' && pattern.test(item)),
    allowed,
  });
}
