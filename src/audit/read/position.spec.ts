import { isPosition } from './position';

describe('a position that came from elsewhere', () => {
  const good = {
    timestamp: '2026-11-23T10:30:00.000001Z',
    sequence: '42',
    id: '0198c1f2-0000-7000-8000-000000000000',
    organizationId: 'org-1',
  };

  it('is taken in the form of the projection', () => expect(isPosition(good)).toBe(true));

  it.each<[string, unknown]>([
    ['null', null],
    ['text', 'x'],
    ['no members', {}],
    ['a timestamp that is a number', { ...good, timestamp: 5 }],
    ['a timestamp of another form', { ...good, timestamp: 'yesterday' }],
    ['a sequence that is no number', { ...good, sequence: '1; x' }],
    ['an id that is no UUID', { ...good, id: 'x' }],
    ['no organization', { ...good, organizationId: undefined }],
  ])('is refused when it is %s', (_, value) => expect(isPosition(value)).toBe(false));
});
