import { isIPv4, isIPv6 } from 'node:net';

/**
 * Elements of a filter's list. A value stands for itself, except for these operators: `!` at the beginning negates; `*` at the end
 * stands for any further characters, and alone for any value; in lists of addresses `10.1.0.0/16` stands for a network. `\!` and
 * `\*` are the characters themselves: backslashes before them come in pairs, as before a comma (query-coercion.ts). Elsewhere a
 * backslash, a `!` and a `*` have no meaning: `CORP\alice` needs no escaping.
 */
export interface ValueTerm {
  isNegated: boolean;
  kind: 'equal' | 'prefix' | 'any' | 'network';
  /** The value, the prefix, or the network as `address/bits`; empty for `any`. */
  value: string;
}

const IS_NETWORK = /^[0-9a-f:.]+\/\d{1,3}$/i;
const MAPPED_BITS = 96;

/** Parses an element. @throws RangeError whose message follows the path of the element. */
export function parseValueTerm(text: string, isAddress = false): ValueTerm {
  const isNegated = text.startsWith('!');
  const rest = isNegated ? text.slice(1) : unescapedStart(text);
  if (rest === '') throw new RangeError('must have a value after !; write \\! for the character');
  if (rest === '*') return { isNegated, kind: 'any', value: '' };
  if (isAddress && IS_NETWORK.test(rest)) {
    return { isNegated, kind: 'network', value: networkOf(rest) };
  }
  return { isNegated, ...endOf(rest) };
}

/** The value of an escaped `!` at the beginning. */
function unescapedStart(text: string): string {
  const [, backslashes = ''] = /^(\\*)!/.exec(text) ?? [];
  return '\\'.repeat(backslashes.length >> 1) + text.slice(backslashes.length);
}

/** A value or, with an operator at its end, a prefix. */
export function endOf(text: string): { kind: 'equal' | 'prefix'; value: string } {
  const [, backslashes] = /(\\*)\*$/.exec(text) ?? [];
  if (backslashes === undefined) return { kind: 'equal', value: text };
  const { length } = backslashes;
  const before = text.slice(0, -1 - length) + '\\'.repeat(length >> 1);
  return length % 2 === 0
    ? { kind: 'prefix', value: before }
    : { kind: 'equal', value: `${before}*` };
}

/** The element that stands for a value and nothing else. */
export function literalTerm(value: string): string {
  return value
    .replace(/^(\\*)!/, '$1$1\\!')
    .replace(/(\\*)\*$/, (_, backslashes: string) => `${backslashes.repeat(2)}\\*`);
}

/** A network of IPv4 within IPv6 (`::ffff:10.0.0.0/104`) is that of IPv4. */
function networkOf(text: string): string {
  const [address = '', digits = ''] = text.split('/');
  const bits = Number(digits);
  if (isIPv4(address) && bits <= 32) return `${address}/${bits}`;
  if (isIPv6(address) && bits <= 128) {
    const plain = plainAddress(address);
    return isIPv4(plain) && bits >= MAPPED_BITS
      ? `${plain}/${bits - MAPPED_BITS}`
      : `${address}/${bits}`;
  }
  throw new RangeError(
    'must be an address, or a network such as 10.1.0.0/16 or 2001:db8::/32 with at most 32 or 128 bits',
  );
}

/** An address of IPv4 that is written within IPv6 (`::ffff:10.1.2.3`, `::ffff:a01:203`), as IPv4; all else as it is. */
export function plainAddress(text: string): string {
  if (!isIPv6(text) || text.includes('%')) return text;
  // A URL has the one spelling of an address.
  const { hostname } = new URL(`http://[${text}]`);
  const [, high, low] = /^\[::ffff:([0-9a-f]+):([0-9a-f]+)\]$/.exec(hostname) ?? [];
  if (high === undefined || low === undefined) return text;
  const bits = parseInt(high, 16) * 0x1_0000 + parseInt(low, 16);
  return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 0xff).join('.');
}

/** The elements of a list by kind. */
export interface Alternatives {
  equal: string[];
  prefixes: string[];
  networks: string[];
  /** Any value will do. */
  isAny: boolean;
}

/** A list: an event fits if one of `wanted` fits, unless there are none, and none of `unwanted` does. */
export interface ValueTerms {
  wanted?: Alternatives;
  unwanted?: Alternatives;
}

/** Parses a list. @throws RangeError as parseValueTerm. */
export function parseValueTerms(texts: readonly string[], isAddress = false): ValueTerms {
  const terms = texts.map((text) => parseValueTerm(text, isAddress));
  const [wanted, unwanted] = [false, true].map((isNegated) =>
    terms.filter((term) => term.isNegated === isNegated),
  );
  return {
    ...(wanted && wanted.length > 0 ? { wanted: alternativesOf(wanted) } : {}),
    ...(unwanted && unwanted.length > 0 ? { unwanted: alternativesOf(unwanted) } : {}),
  };
}

function alternativesOf(terms: readonly ValueTerm[]): Alternatives {
  const of = (kind: ValueTerm['kind']) =>
    terms.filter((term) => term.kind === kind).map(({ value }) => value);
  return {
    equal: of('equal'),
    prefixes: of('prefix'),
    networks: of('network'),
    isAny: terms.some(({ kind }) => kind === 'any'),
  };
}

/** The values that a list names, if it holds nothing but values. */
export function plainValues(texts: readonly string[], isAddress = false): string[] | undefined {
  const { wanted, unwanted } = parseValueTerms(texts, isAddress);
  if (!wanted || unwanted || wanted.isAny) return undefined;
  return wanted.prefixes.length + wanted.networks.length > 0 ? undefined : wanted.equal;
}

/** True for an address as networks hold it: without leading zeros, a zone or a port. */
export function isAddress(text: string): boolean {
  return isIPv4(text) || (isIPv6(text) && !text.includes('%'));
}
