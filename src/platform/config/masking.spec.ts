import fc from 'fast-check';
import { maskPath, maskUrl, maskUrlList } from './define-config';

describe('maskUrl', () => {
  it.each([
    ['postgres://audit:hunter2@db:5432/audit', 'postgres://audit:****@db:5432/audit'],
    ['postgres://db:5432/audit', 'postgres://db:5432/audit'],
    ['postgres://db/audit', 'postgres://db/audit'],
    ['redis://:hunter2@cache', 'redis://:****@cache'],
    ['redis://hunter2@cache', 'redis://****@cache'],
    ['postgres://u:hunter2', 'postgres://u:****'],
    ['postgres:u:hunter2@db', 'postgres:****@db'],
    ['postgres//u:hunter2@db', 'postgres//u:****@db'],
    ['u:hunter2@db', 'u:****@db'],
    ['mysql://u:hunter2@hunter2/hunter2:h@db/audit', 'mysql://u:****@db/audit'],
    [
      'postgres://db/audit?user=u&password=hunter2&x=1',
      'postgres://db/audit?user=u&password=****&x=1',
    ],
    ['https://issuer/keys?api_key=hunter2#top', 'https://issuer/keys?api_key=****#top'],
    ['ftp://db', 'ftp://db'],
  ])('shows %s as %s', (text, shown) => {
    expect(maskUrl(text)).toBe(shown);
  });

  it('never shows a password, whatever characters it holds', () => {
    const password = fc.string({ minLength: 1 }).map((text) => `hunter2${text}hunter2`);
    fc.assert(
      fc.property(password, fc.constantFrom('postgres://', 'redis://', ''), (secret, scheme) => {
        expect(maskUrl(`${scheme}audit:${secret}@db:5432/audit`)).not.toContain('hunter2');
      }),
    );
  });
});

describe('maskUrlList', () => {
  it('masks each URL', () => {
    expect(maskUrlList('postgres://a:hunter2@x,postgres://b:hunter2@y')).toBe(
      'postgres://a:****@x,postgres://b:****@y',
    );
  });

  it('keeps a comma inside a password within its URL', () => {
    expect(maskUrlList('postgres://a:hunter2,hunter2@x, postgres://y')).not.toContain('hunter2');
  });
});

describe('maskPath', () => {
  it.each([
    ['https://hooks.example.com/services/T0/hunter2', 'https://hooks.example.com/****'],
    ['https://hooks.example.com?token=hunter2', 'https://hooks.example.com/****'],
    ['https://u:hunter2@hooks.example.com/x', '****'],
    ['hooks.example.com/hunter2', '****'],
  ])('shows %s as %s', (text, shown) => {
    expect(maskPath(text)).toBe(shown);
  });
});
