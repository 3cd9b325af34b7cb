import type { NewEvent } from './audit-event';
import { hasSameContent } from './event-content';
import { EVENT_FIELDS, EVENT_FILTERS, type EventField } from './event-fields';

const event: NewEvent = {
  id: '0198c1f2-3e4a-7000-8000-1234567890ab',
  hasClientId: true,
  timestamp: '2026-11-23T10:30:00.000000Z',
  hasClientTimestamp: false,
  organizationId: 'org-1',
  principalId: 'user-1',
  action: 'user.login',
  targetResourceType: 'Patient',
  targetResourceId: 'pat-1',
  status: 'success',
  outcomeDescription: 'Opened the chart',
  dataClassification: 'PHI',
  correlationId: 'req-1',
  sessionContext: '{"sessionId":"s-1"}',
  metadata: '{"ward":"B2"}',
};
const stored = {
  ...event,
  sessionContext: { sessionId: 's-1' },
  metadata: { ward: 'B2' },
  recordedAt: '2026-11-23T10:30:00.123456Z',
  sequence: '7',
};

describe('the fields of an event', () => {
  it.each(EVENT_FIELDS.map(({ name, ...field }: EventField) => [name, field.comparison]))(
    '%s tells events with one id apart when it is compared (%s)',
    (name, comparison) => {
      const other = { ...stored, [name]: comparison === 'json' ? { other: true } : 'other' };
      expect(hasSameContent(event, JSON.stringify(other))).toBe(comparison === undefined);
    },
  );

  it('have filters in the order that cursors hold', () => {
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
