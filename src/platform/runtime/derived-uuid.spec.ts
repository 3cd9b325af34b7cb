import { derivedUuid } from './derived-uuid';

describe('derivedUuid', () => {
  it('is the same for the same parts, and another when they are parted elsewhere', () => {
    const uuid = derivedUuid(['ab', 'c']);
    expect(uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(derivedUuid(['ab', 'c'])).toBe(uuid);
    expect(derivedUuid(['a', 'bc'])).not.toBe(uuid);
  });
});
