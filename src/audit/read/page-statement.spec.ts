import fc from 'fast-check';
import type { AuditEventFilter } from '../event/audit-event-filter';
import { literalTerm } from '../event/value-terms';
import { countStatement, pageStatement, type PageRequest } from './page-statement';

const request: PageRequest = {
  organizations: ['org-1'],
  filter: {},
  sort: { field: 'timestamp', direction: 'desc' },
  limit: 50,
  offset: 0,
};
const after = {
  timestamp: '2026-11-23T10:30:00.000000Z',
  sequence: '7',
  id: '0198c1f2-3e4a-7000-8000-1234567890ab',
  organizationId: 'org-1',
};

const name = fc.string({ minLength: 1 }).map(literalTerm);
const names = fc.option(fc.array(name, { minLength: 1, maxLength: 3 }), { nil: undefined });
const date = fc.option(
  fc.record({
    micros: fc.integer({ min: 0, max: 4e15 }),
    submicros: fc.constantFrom('', '', '007', '9'),
  }),
  { nil: undefined },
);
const filter = fc.record({
  startDate: date,
  endDate: date,
  principalIds: names,
  actions: names,
  resourceTypes: names,
  resourceIds: names,
  correlationIds: names,
  principalTypes: names,
  targetTypes: names,
  targetIds: names,
}) as fc.Arbitrary<AuditEventFilter>;
const pageRequest: fc.Arbitrary<PageRequest> = fc.record({
  organizations: fc.oneof(
    fc.constant('*' as const),
    fc.array(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 3 }),
  ),
  filter,
  sort: fc.record({
    field: fc.constantFrom('timestamp', 'sequence'),
    direction: fc.constantFrom('asc', 'desc'),
  }),
  after: fc.option(fc.constant(after), { nil: undefined }),
  from: fc.option(fc.constant('2026-11-01T00:00:00.000000Z'), { nil: undefined }),
  limit: fc.integer({ min: 1, max: 1000 }),
  offset: fc.nat({ max: 100 }),
});

describe('the statement of a page', () => {
  it('binds every value of the caller, and each placeholder has its value', () => {
    fc.assert(
      fc.property(pageRequest, (wanted) => {
        const marker = 'zq"\'; DROP TABLE x --';
        const marked = {
          ...wanted,
          filter: { ...wanted.filter, actions: [marker] },
          organizations: wanted.organizations === '*' ? ('*' as const) : [marker],
        };
        for (const { text, values } of [pageStatement(marked), countStatement(marked)]) {
          expect(text).not.toContain('DROP');
          const numbers = [...text.matchAll(/\$(\d+)/g)].map(([, number]) => Number(number));
          expect([...new Set(numbers)].sort((a, b) => a - b)).toEqual(
            values.map((_, index) => index + 1),
          );
        }
      }),
    );
  });

  it('asks for the organizations it was given, unless they are all', () => {
    fc.assert(
      fc.property(pageRequest, (wanted) => {
        const isAll = wanted.organizations === '*';
        for (const { text, values } of [pageStatement(wanted), countStatement(wanted)]) {
          const restricts = /e\.organization_id = /.test(text);
          // By sequence, all organizations are gone through one by one.
          if (!isAll) expect(restricts).toBe(true);
          const { organizations } = wanted;
          const bound = values.some(
            (value) =>
              value === organizations ||
              (!isAll && organizations.length === 1 && value === organizations[0]),
          );
          expect(bound).toBe(!isAll);
        }
      }),
    );
  });

  it('beyond a position has the plain bound that lets partitions be left out', () => {
    const { text } = pageStatement({ ...request, after });
    expect(text).toMatch(/e\.timestamp <= \$\d+::timestamptz/);
    expect(text).toContain('(e.timestamp, e.id, e.organization_id) < (');
    const ascending = pageStatement({
      ...request,
      after,
      sort: { field: 'timestamp', direction: 'asc' },
    });
    expect(ascending.text).toMatch(/e\.timestamp >= \$\d+::timestamptz/);
  });

  it('has a name only when there are few of its kind, and one name for one text', () => {
    const named = new Map<string, string>();
    fc.assert(
      fc.property(pageRequest, (wanted) => {
        const { name, text } = pageStatement(wanted);
        const hasLists = Object.values(wanted.filter).some(Array.isArray);
        expect(name === undefined).toBe(hasLists);
        if (name === undefined) return;
        expect(named.get(name) ?? text).toBe(text);
        named.set(name, text);
        expect(name.length).toBeLessThan(64); // PostgreSQL cuts longer names
      }),
    );
    const other = { ...request, organizations: ['org-2'], limit: 10, after };
    const same = { ...request, limit: 20, after: { ...after, sequence: '8' } };
    expect(pageStatement(other).name).toBe(pageStatement(same).name);
    expect(pageStatement(other).name).not.toBe(pageStatement(request).name);
  });

  it('takes dates as half-open, in microseconds', () => {
    const { text, values } = pageStatement({
      ...request,
      filter: {
        startDate: { micros: 1, submicros: '' },
        endDate: { micros: 1_000_000, submicros: '' },
      },
    });
    expect(text).toMatch(/e\.timestamp >= \$\d::timestamptz AND e\.timestamp < \$\d::timestamptz/);
    expect(values).toEqual(
      expect.arrayContaining(['1970-01-01T00:00:00.000001Z', '1970-01-01T00:00:01.000000Z']),
    );
    expect(text.match(/coalesce\(e\.timestamp_submicros/g)).toHaveLength(1); // of the JSON text
  });

  it('compares the digits beyond microseconds beside the plain bounds, only if there are some', () => {
    const { text, values } = pageStatement({
      ...request,
      filter: {
        startDate: { micros: 1, submicros: '007' },
        endDate: { micros: 2, submicros: '9' },
      },
    });
    for (const [plain, exact] of [
      ['>=', '>='],
      ['<=', '<'],
    ]) {
      expect(text).toMatch(new RegExp(`e\\.timestamp ${plain} \\$\\d+::timestamptz`));
      expect(text).toContain(`(e.timestamp, coalesce(e.timestamp_submicros, '')) ${exact} (`);
    }
    expect(values).toEqual(expect.arrayContaining(['007', '9']));
  });
});
