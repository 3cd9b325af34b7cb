import { deterministicUuid } from './deterministic-uuid';

describe('deterministicUuid', () => {
  it('is the same for the same parts, and another when they are parted elsewhere', () => {
    const uuid = deterministicUuid(['ab', 'c']);
    expect(uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(deterministicUuid(['ab', 'c'])).toBe(uuid);
    expect(deterministicUuid(['a', 'bc'])).not.toBe(uuid);
  });
});
