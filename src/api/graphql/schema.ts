import { GraphQLObjectType, GraphQLSchema, type GraphQLFieldConfig } from 'graphql';
import { DATA_CLASSIFICATIONS, EVENT_STATUSES } from '../../audit/event/audit-event';
import { BulkCreateResultDto, BulkResultDto } from '../../audit/event/dto/responses.dto';
import {
  AuditEventFilterDto,
  AuditEventSortDto,
  DateRangeDto,
  PaginationDto,
} from '../../audit/read/dto/audit-event-search.dto';
import { CreateAuditEventDto } from '../../audit/event/dto/create-audit-event.dto';
import { requireScopes } from '../../auth/principal';
import { ALERT_TYPES, SEVERITIES } from '../../metrics/dto/responses.dto';
import { DerivedTypes, type Dto, type Naming } from './derived-types';
import { eventMutations, eventQueries, type EventServices } from './event-fields';
import { operatorMutations, operatorQueries, type OperatorServices } from './operator-fields';
import type { LiveFields, RootFields, Writer } from './root-fields';
import { DATE_TIME } from './scalars';
import {
  eventSubscriptions,
  operatorSubscriptions,
  type LiveServices,
} from './subscription-fields';

export type Services = EventServices & OperatorServices & LiveServices;

/** What resolvers are called with. */
export interface CallContext extends Writer {
  services: Services;
}

/** Of the configuration as it comes. */
const USUAL_LIMIT = 50;

const namingsFor = (limit: number): ReadonlyMap<Dto, Naming> =>
  new Map<Dto, Naming>([
    [CreateAuditEventDto, { name: 'CreateAuditEventInput' }],
    [AuditEventFilterDto, { name: 'AuditEventFilter' }],
    [DateRangeDto, { types: { startDate: DATE_TIME, endDate: DATE_TIME } }],
    // Whether to count is told by what is selected.
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
  'timestamp|sequence': 'AuditEventSortField',
  'asc|desc': 'SortDirection',
  'created|duplicate': 'BulkResultStatus',
  'healthy|warning|critical': 'HealthStatus',
  'up|away|none': 'SharedTierState',
  'created|skipped': 'PartitionAction',
  'dropped|skipped|suggested': 'IndexAction',
  'done|skipped': 'MaintenanceAction',
};

/** The schema of the door: root fields over the DTO classes, each behind its scope. `limit` is that of a page by default. */
export function graphqlSchema(limit = USUAL_LIMIT): GraphQLSchema {
  const types = new DerivedTypes(namingsFor(limit), ENUM_NAMES);
  const queries = { ...eventQueries(types), ...operatorQueries(types) };
  const mutations = { ...eventMutations(types), ...operatorMutations(types) };
  const subscriptions = { ...eventSubscriptions(types), ...operatorSubscriptions(types) };
  return new GraphQLSchema({
    query: new GraphQLObjectType({ name: 'Query', fields: guarded(queries) }),
    mutation: new GraphQLObjectType({ name: 'Mutation', fields: guarded(mutations) }),
    subscription: new GraphQLObjectType({ name: 'Subscription', fields: live(subscriptions) }),
  });
}

type FieldConfigs = Record<
  string,
  GraphQLFieldConfig<unknown, CallContext, Record<string, unknown>>
>;

function guarded(fields: RootFields<Services>): FieldConfigs {
  return Object.fromEntries(
    Object.entries(fields).map(([name, { type, description, args, scope, resolve }]) => [
      name,
      {
        type,
        description: `${description} Needs \`${scope}\`.`,
        ...(args ? { args } : {}),
        resolve: (_, given, { services, ...caller }, info) => {
          requireScopes(caller.principal, [scope]);
          return resolve(services, given, caller, info);
        },
      },
    ]),
  );
}

function live(fields: LiveFields<Services>): FieldConfigs {
  return Object.fromEntries(
    Object.entries(fields).map(([name, { type, description, args, scope, subscribe, resolve }]) => [
      name,
      {
        type,
        description: `${description} Needs \`${scope}\`.`,
        ...(args ? { args } : {}),
        subscribe: (_, given, { services, principal, signal }, info) => {
          requireScopes(principal, [scope]);
          return subscribe(services, given, { principal, signal }, info);
        },
        resolve: (element) => (resolve ? resolve(element as never) : element),
      },
    ]),
  );
}
