import {
  filterOf,
  INITIAL,
  queryOf,
  stateOf,
  type ViewState,
} from '../../packages/viewer/src/view-state';

const FULL: ViewState = {
  q: 'actor:"a & b" + %2C',
  from: '2026-11-01T00:00:00.000Z',
  to: '2026-11-30T00:00:00.000Z',
  organization: 'org,1',
  order: 'asc',
  event: '019ab1c2-3e4a-7000-8000-1234567890ab',
  eventOrganization: 'org,1',
  zone: 'Europe/Zurich',
  isLive: true,
};

describe('the state of a view', () => {
  it.each(['', 'audit-'])('is in the URL behind %j, beside the parameters of others', (prefix) => {
    const others = new URLSearchParams('page=3&tab=log');
    const query = new URLSearchParams(queryOf(FULL, others, prefix));
    expect(stateOf(query, prefix)).toEqual(FULL);
    expect([query.get('page'), query.get('tab')]).toEqual(['3', 'log']);
    expect(queryOf(INITIAL, query, prefix)).toBe(others.toString());
  });

  it('leaves out what is not understood', () => {
    const query = new URLSearchParams(
      'range=ages&from=yesterday&to=&tz=Nowhere/Else&order=up&live=yes',
    );
    expect(stateOf(query, '')).toEqual(INITIAL);
    expect(stateOf(new URLSearchParams('range=constructor'), '')).toEqual(INITIAL);
  });

  it('is a filter of the service', () => {
    const now = Date.parse('2026-11-30T12:00:00Z');
    expect(filterOf(INITIAL, now).toString()).toBe('');
    expect(Object.fromEntries(filterOf(FULL, now))).toEqual({
      q: FULL.q,
      start_date: FULL.from,
      end_date: FULL.to,
      organization_ids: 'org\\,1',
    });
    const ranged = filterOf({ ...FULL, range: '1h' }, now);
    expect(ranged.get('start_date')).toBe('2026-11-30T11:00:00.000Z');
    expect(ranged.has('end_date')).toBe(false);
  });
});
