import { EVENT_FILTERS } from './audit-event-filter';

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
    ]);
  });
});
