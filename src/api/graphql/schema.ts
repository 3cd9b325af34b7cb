import { GraphQLSchema } from 'graphql';
import { DATA_CLASSIFICATIONS, EVENT_STATUSES } from '../../audit/event/audit-event';
import {
  AuditEventDto,
  BulkCreateResultDto,
  BulkResultDto,
} from '../../audit/event/dto/responses.dto';
import { COUNT_KEYS } from '../../audit/read/count-statement';
import {
  AuditEventFilterDto,
  AuditEventSortDto,
  DateRangeDto,
  PaginationDto,
} from '../../audit/read/dto/audit-event-search.dto';
import { CreateAuditEventDto } from '../../audit/event/dto/create-audit-event.dto';
import { ALERT_TYPES, SEVERITIES } from '../../metrics/dto/responses.dto';
import { DATE_TIME, DerivedTypes, type Dto, JSON_VALUE, type Naming } from './derived-types';
import { eventMutations, eventQueries, eventSubscriptions } from './event-fields';
import { operatorMutations, operatorQueries, operatorSubscriptions } from './operator-fields';
import { liveType, rootType } from './root-fields';

/** Default of PAGINATION_DEFAULT_LIMIT. */
const USUAL_LIMIT = 50;

/** Names and exceptions of the types that are derived from DTO classes. */
const namingsFor = (limit: number): ReadonlyMap<Dto, Naming> =>
  new Map<Dto, Naming>([
    // Lists in events are JSON: coercion would make objects of their elements before any limit, and round numbers.
    [
      CreateAuditEventDto,
      { name: 'CreateAuditEventInput', types: { targets: JSON_VALUE, changes: JSON_VALUE } },
    ],
    [AuditEventDto, { types: { changes: JSON_VALUE } }],
    [AuditEventFilterDto, { name: 'AuditEventFilter' }],
    [DateRangeDto, { types: { startDate: DATE_TIME, endDate: DATE_TIME } }],
    // The selection decides whether events are counted: `totalCount`.
    [
      PaginationDto,
      { name: 'PaginationInput', omit: ['includeTotal'], defaults: { limit, offset: 0 } },
    ],
    [AuditEventSortDto, { defaults: { direction: 'desc' } }],
    [BulkCreateResultDto, { hasSmallIntegers: true }],
    [BulkResultDto, { hasSmallIntegers: true }],
  ]);

const ENUM_NAMES = {
  [EVENT_STATUSES.join('|')]: 'AuditEventStatus',
  [DATA_CLASSIFICATIONS.join('|')]: 'DataClassification',
  [SEVERITIES.join('|')]: 'AlertSeverity',
  [ALERT_TYPES.join('|')]: 'AlertType',
  [COUNT_KEYS.join('|')]: 'AuditEventCountKey',
  'timestamp|sequence': 'AuditEventSortField',
  'asc|desc': 'SortDirection',
  'created|duplicate': 'BulkResultStatus',
  'healthy|warning|critical': 'HealthStatus',
  'up|away|none': 'SharedTierState',
  'created|skipped': 'PartitionAction',
  'built|dropped|skipped|suggested': 'IndexAction',
  'done|skipped': 'MaintenanceAction',
};

/** Builds the schema. @param limit default size of a page. */
export function graphqlSchema(limit = USUAL_LIMIT): GraphQLSchema {
  const types = new DerivedTypes(namingsFor(limit), ENUM_NAMES);
  return new GraphQLSchema({
    query: rootType('Query', { ...eventQueries(types), ...operatorQueries(types) }),
    mutation: rootType('Mutation', {
      ...eventMutations(types),
      ...operatorMutations(types),
    }),
    subscription: liveType('Subscription', {
      ...eventSubscriptions(types),
      ...operatorSubscriptions(types),
    }),
  });
}
