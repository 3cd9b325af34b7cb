import { EVENT_FILTERS, filterFingerprint } from './audit-event-filter';

describe('the filters of events', () => {
  it('are in the order that cursors hold', () => {
    expect(EVENT_FILTERS.map(({ list, column }) => [list, column])).toEqual([
      ['principalIds', 'principal_id'],
      ['actions', 'action'],
      ['statuses', 'status'],
      ['dataClassifications', 'data_classification'],
      ['resourceTypes', 'target_resource_type'],
      ['resourceIds', 'target_resource_id'],
      ['correlationIds', 'correlation_id'],
      ['principalTypes', 'principal_type'],
      ['targetTypes', 'target_resource_type'],
      ['targetIds', 'target_resource_id'],
      ['sessionIds', 'session_context'],
      ['ipAddresses', 'session_context'],
    ]);
  });

  it('without later ones have the text that cursors of every version hold', () => {
    const sort = { field: 'timestamp', direction: 'desc' } as const;
    const filter = { principalIds: ['b', 'a', 'b'], resourceIds: ['x'] };
    const before = '[[null,null],[["a","b"],null,null,null,null,["x"],null],"timestamp","desc"';
    expect(filterFingerprint(filter, sort)).toBe(`${before}]`);
    expect(filterFingerprint({ ...filter, targetIds: ['y'], principalTypes: ['u'] }, sort)).toBe(
      `${before},[["principalTypes",["u"]],["targetIds",["y"]]]]`,
    );
  });
});
