import { isIP } from 'node:net';

/** A network, canonical: an IPv4-mapped one is an IPv4 network. */
export interface Network {
  address: string;
  prefix: number;
  family: 'ipv4' | 'ipv6';
}

const MAPPED_BITS = 96;

/** The network of an address or of CIDR notation, such as 10.0.0.0/8; undefined for anything else. */
export function networkOf(text: string): Network | undefined {
  const [, given = '', bits] = /^([^/]+)(?:\/(0|[1-9]\d{0,2}))?$/.exec(text) ?? [];
  const version = isIP(given);
  if (version === 0 || given.includes('%')) return undefined;
  const [all, prefix] = version === 4 ? [32, Number(bits ?? 32)] : [128, Number(bits ?? 128)];
  if (prefix > all) return undefined;
  const address = addressOf(given) ?? given;
  const isMapped = version === 6 && isIP(address) === 4 && prefix >= MAPPED_BITS;
  if (isMapped) return { address, prefix: prefix - MAPPED_BITS, family: 'ipv4' };
  return {
    address: version === 6 ? given : address,
    prefix,
    family: version === 4 ? 'ipv4' : 'ipv6',
  };
}

/**
 * The IP address in a hop: alone, in brackets, or with a port; with double quotes or without. IPv4-mapped ones are IPv4,
 * zones are left out. Undefined for anything else, such as `unknown`.
 */
export function addressOf(hop: string): string | undefined {
  const text = hop.trim().replace(/^"(.*)"$/, '$1');
  const bracketed = /^\[([^[\]]+)\](?::\d{1,5})?$/.exec(text)?.[1];
  const withPort = /^([\d.]+):\d{1,5}$/.exec(text)?.[1];
  const found = bracketed ?? withPort ?? text;
  const address = found.includes(':') ? found.replace(/%[\w.-]+$/, '') : found;
  if (bracketed !== undefined && isIP(address) !== 6) return undefined;
  if (isIP(address) === 0) return undefined;
  return isIP(address) === 6 ? unmapped(address) : address;
}

/** In the one spelling of RFC 5952, and IPv4 where it is IPv4-mapped. */
function unmapped(address: string): string {
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(canonical) ?? [];
  if (high === undefined || low === undefined) return canonical;
  const [upper, lower] = [parseInt(high, 16), parseInt(low, 16)];
  return [upper >> 8, upper & 255, lower >> 8, lower & 255].join('.');
}

const UNSPECIFIED = new Set(['::', '0.0.0.0']);

/** The URL under which a listener on this address is reached from its own machine. */
export function urlOfListener({ address, port }: { address: string; port: number }): string {
  const isNamed = UNSPECIFIED.has(address) || address === '127.0.0.1';
  const host = isNamed ? 'localhost' : address.includes(':') ? `[${address}]` : address;
  return `http://${host}:${port}`;
}
