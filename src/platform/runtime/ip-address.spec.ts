import { addressOf, networkOf, urlOfListener } from './ip-address';

describe('a network', () => {
  it.each([
    ['10.0.0.0/8', { address: '10.0.0.0', prefix: 8, family: 'ipv4' }],
    ['192.168.1.7', { address: '192.168.1.7', prefix: 32, family: 'ipv4' }],
    ['fd00::/8', { address: 'fd00::', prefix: 8, family: 'ipv6' }],
    ['::1', { address: '::1', prefix: 128, family: 'ipv6' }],
    ['::ffff:10.0.0.0/104', { address: '10.0.0.0', prefix: 8, family: 'ipv4' }],
    ['0.0.0.0/0', { address: '0.0.0.0', prefix: 0, family: 'ipv4' }],
  ])('is read from %s', (text, expected) => {
    expect(networkOf(text)).toEqual(expected);
  });

  it.each([
    '',
    '10.0.0.0/33',
    '10.0.0/8',
    'fd00::/129',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    'proxy',
    '10.0.0.0/8/8',
    'fe80::1%eth0',
  ])('is not %j', (text) => expect(networkOf(text)).toBeUndefined());

  it('and an address have one spelling', () => {
    expect(addressOf('2001:0DB8:0:0::1')).toBe('2001:db8::1');
    expect(addressOf('::ffff:0a00:0001')).toBe('10.0.0.1');
  });
});

describe('the URL of a listener', () => {
  it.each([
    ['::', 'http://localhost:3000'],
    ['0.0.0.0', 'http://localhost:3000'],
    ['127.0.0.1', 'http://localhost:3000'],
    ['::1', 'http://[::1]:3000'],
    ['192.0.2.7', 'http://192.0.2.7:3000'],
  ])('on %s is %s', (address, url) => {
    expect(urlOfListener({ address, port: 3000 })).toBe(url);
  });
});
