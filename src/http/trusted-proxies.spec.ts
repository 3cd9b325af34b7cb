import type { IncomingMessage } from 'node:http';
import { networkOf, type Network } from '../platform/runtime/ip-address';
import { TrustedProxies } from './trusted-proxies';

function requestFrom(
  remoteAddress: string | undefined,
  headers: Record<string, string> = {},
): IncomingMessage {
  return { socket: { remoteAddress }, headers } as unknown as IncomingMessage;
}

const networks = (...texts: string[]) => texts.map((text) => networkOf(text) as Network);
const proxies = new TrustedProxies(networks('10.0.0.0/8', '192.168.1.7', 'fd00::/8', '::1'));
const clientOf = (peer: string | undefined, forwarded?: string) =>
  proxies.clientAddress(
    requestFrom(peer, forwarded === undefined ? {} : { 'x-forwarded-for': forwarded }),
  );

describe('the address of a client', () => {
  it.each([
    // Only the connection.
    ['203.0.113.5', undefined, '203.0.113.5'],
    ['::ffff:203.0.113.5', undefined, '203.0.113.5'],
    ['fe80::1%eth0', undefined, 'fe80::1'],
    [undefined, '198.51.100.7', undefined],
    // The headers of a client that is no proxy do not count.
    ['203.0.113.5', '198.51.100.7', '203.0.113.5'],
    // From the right to the first address that is no proxy; forged ones on the left are not reached.
    ['10.0.0.1', '198.51.100.7', '198.51.100.7'],
    ['::ffff:10.0.0.1', '198.51.100.7', '198.51.100.7'],
    ['10.0.0.1', '1.2.3.4, 198.51.100.7', '198.51.100.7'],
    ['10.0.0.1', '1.2.3.4,198.51.100.7 ,\t10.9.9.9', '198.51.100.7'],
    ['10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
    // IPv6, brackets, ports, quotes, IPv4-mapped.
    ['fd00::1', '2001:DB8::0:7', '2001:db8::7'],
    ['::1', '[2001:db8::7]:4711', '2001:db8::7'],
    ['::1', '"[2001:db8::7]"', '2001:db8::7'],
    ['10.0.0.1', '198.51.100.7:4711', '198.51.100.7'],
    ['10.0.0.1', '::ffff:198.51.100.7', '198.51.100.7'],
    ['10.0.0.1', '198.51.100.7, ::ffff:10.0.0.2', '198.51.100.7'],
    // An invalid hop ends the chain at the last valid address.
    ['10.0.0.1', 'unknown', '10.0.0.1'],
    ['10.0.0.1', '', '10.0.0.1'],
    ['10.0.0.1', '198.51.100.7, unknown, 10.0.0.2', '10.0.0.2'],
    ['10.0.0.1', '198.51.100.7, _hidden', '10.0.0.1'],
    ['10.0.0.1', '999.1.1.1', '10.0.0.1'],
    ['10.0.0.1', '1.2.3.4%eth0', '10.0.0.1'],
    ['10.0.0.1', '[1.2.3.4]', '10.0.0.1'],
    ['10.0.0.1', '1.2.3.4:port', '10.0.0.1'],
    ['10.0.0.1', '1.2.3.4\u001b[31m', '10.0.0.1'],
  ])('of %s with X-Forwarded-For %j is %s', (peer, forwarded, expected) => {
    expect(clientOf(peer, forwarded)).toBe(expected);
  });

  it('is that of the connection without trusted proxies, and `Forwarded` is not read', () => {
    const headers = { 'x-forwarded-for': '198.51.100.7', forwarded: 'for=198.51.100.8' };
    expect(new TrustedProxies([]).clientAddress(requestFrom('10.0.0.1', headers))).toBe('10.0.0.1');
    const { forwarded } = headers;
    expect(proxies.clientAddress(requestFrom('10.0.0.1', { forwarded }))).toBe('10.0.0.1');
  });

  it('takes a bounded time for a chain of any length', () => {
    const chain = Array.from({ length: 5000 }, () => '10.0.0.2').join(',');
    expect(clientOf('10.0.0.1', `198.51.100.7,${chain}`)).toBe('10.0.0.2');
  });
});

describe('other headers of a proxy', () => {
  it('count only from a trusted one', () => {
    const headers = { 'x-forwarded-proto': 'https', 'x-forwarded-prefix': '/audit/' };
    expect(proxies.isSecure(requestFrom('10.0.0.1', headers))).toBe(true);
    expect(proxies.isSecure(requestFrom('203.0.113.5', headers))).toBe(false);
    expect(proxies.prefixOf(requestFrom('10.0.0.1', headers))).toBe('/audit');
    expect(proxies.prefixOf(requestFrom('203.0.113.5', headers))).toBe('');
  });

  it.each([
    ['https', true],
    ['HTTPS, http', true],
    ['http', false],
    ['http, https', false],
    ['', false],
  ])('X-Forwarded-Proto %j is TLS: %s', (value, isSecure) => {
    const headers = { 'x-forwarded-proto': value };
    expect(proxies.isSecure(requestFrom('::1', headers))).toBe(isSecure);
  });

  it.each([
    ['/audit', '/audit'],
    ['/a/b-c_d.e~f', '/a/b-c_d.e~f'],
    ['/', ''],
    ['', ''],
    ['//evil.example', ''],
    ['/\\evil.example', ''],
    ['https://evil.example', ''],
    ['/a/../b', ''],
    ['/a, /b', ''],
    ['/a"><script>', ''],
    ['/a\r\nX: y', ''],
    [`/${'a'.repeat(300)}`, ''],
  ])('X-Forwarded-Prefix %j is %j', (value, prefix) => {
    const headers = { 'x-forwarded-prefix': value };
    expect(proxies.prefixOf(requestFrom('::1', headers))).toBe(prefix);
  });
});
