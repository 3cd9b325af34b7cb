import { deterministicUuid, idempotencyKey } from './record-identity';

describe('deterministicUuid', () => {
  it('is the same for the same parts, and another when they are parted elsewhere', () => {
    const uuid = deterministicUuid(['ab', 'c']);
    expect(uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(deterministicUuid(['ab', 'c'])).toBe(uuid);
    expect(deterministicUuid(['a', 'bc'])).not.toBe(uuid);
  });
});

describe('idempotencyKey', () => {
  it('depends on the import, the lines and the body, and fits in the header', () => {
    const keys = [
      idempotencyKey('file', '1-2', 'body'),
      idempotencyKey('other', '1-2', 'body'),
      idempotencyKey('file', '2-3', 'body'),
      idempotencyKey('file', '1-2', 'other'),
    ];
    expect(new Set(keys).size).toBe(4);
    keys.forEach((key) => expect(key).toMatch(/^[\x21-\x7e]{1,255}$/));
  });
});
