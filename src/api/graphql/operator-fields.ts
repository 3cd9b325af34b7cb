import { GraphQLInt, GraphQLList, GraphQLNonNull, GraphQLString } from 'graphql';
import { type Organizations, requireOrganizations } from '../../auth/principal';
import { globMatcher } from '../../caching/cache-key';
import { CacheController } from '../../caching/cache.controller';
import {
  DEFAULT_PRELOAD_DAYS,
  InvalidationQuery,
  WarmupDto,
  CacheInvalidationDto,
  CacheStatisticsDto,
  WarmupResultDto,
} from '../../caching/cache.openapi';
import { CacheInvalidation } from '../../caching/cache-invalidation';
import { DatabaseController } from '../../maintenance/database.controller';
import {
  DatabaseHealthStatusDto,
  DatabaseOptimizationResultDto,
  DatabasePerformanceReportDto,
} from '../../maintenance/dto/responses.dto';
import { AlertState } from '../../metrics/alert-state';
import {
  PerformanceAlertDto,
  PerformanceHealthDto,
  PerformanceMetricsDto,
  SEVERITIES,
} from '../../metrics/dto/responses.dto';
import { PerformanceController } from '../../metrics/performance.controller';
import { PerformanceReport } from '../../metrics/performance.report';
import type { DerivedTypes, Dto } from './derived-types';
import { chosen, limited, type LiveFields, requireValid, type RootFields } from './root-fields';

type Field = RootFields[string];

export function operatorQueries(types: DerivedTypes): RootFields {
  const of = (dto: Dto, description: string, resolve: Field['resolve']): Field => ({
    type: new GraphQLNonNull(types.output(dto)),
    description,
    scope: 'performance:read',
    resolve,
  });
  const alert = new GraphQLNonNull(types.output(PerformanceAlertDto));
  return {
    performanceMetrics: of(PerformanceMetricsDto, 'How fast this replica is.', (get) =>
      get(PerformanceController).metrics(),
    ),
    performanceHealth: of(PerformanceHealthDto, 'How it does, and what to do.', (get) =>
      get(PerformanceController).check(),
    ),
    performanceAlerts: {
      type: new GraphQLNonNull(new GraphQLList(alert)),
      description: 'Those that are active, then up to a hundred that are over.',
      scope: 'performance:read',
      resolve: (get) => get(PerformanceController).alerts({}),
    },
    cacheStats: of(CacheStatisticsDto, 'How the cache of this replica does.', (get) =>
      get(CacheController).statistics(),
    ),
    databasePerformanceReport: of(DatabasePerformanceReportDto, 'How the database does.', (get) =>
      get(DatabaseController).report(),
    ),
    databaseHealthStatus: of(DatabaseHealthStatusDto, 'How healthy the database is.', (get) =>
      get(DatabaseController).health(),
    ),
  };
}

export function operatorMutations(types: DerivedTypes): RootFields {
  return {
    invalidateCache: {
      type: new GraphQLNonNull(types.output(CacheInvalidationDto)),
      description: 'Forgets kept answers of the organizations of the token.',
      scope: 'performance:manage',
      args: {
        pattern: {
          type: new GraphQLNonNull(GraphQLString),
          description: 'The start of their keys, such as `audit_events*`.',
        },
      },
      resolve: (get, args, { principal }) =>
        get(CacheController).invalidate(principal, requireValid(InvalidationQuery, args)),
    },
    warmupCache: {
      type: new GraphQLNonNull(types.output(WarmupResultDto)),
      description: 'Reads what readers ask for first.',
      scope: 'performance:manage',
      args: {
        organizationIds: { type: new GraphQLList(new GraphQLNonNull(GraphQLString)) },
        preloadDays: { type: GraphQLInt, defaultValue: DEFAULT_PRELOAD_DAYS },
      },
      resolve: (get, args, { principal }) =>
        get(CacheController).warmUp(principal, requireValid(WarmupDto, args)),
    },
    optimizeDatabase: {
      type: new GraphQLNonNull(types.output(DatabaseOptimizationResultDto)),
      description:
        'Maintains the database now; no reader or writer waits for it. CONFLICT while it runs.',
      scope: 'performance:manage',
      resolve: (get) => get(DatabaseController).optimize(),
    },
  };
}

export function operatorSubscriptions(types: DerivedTypes): LiveFields {
  return {
    performanceMetricsUpdated: {
      type: new GraphQLNonNull(types.output(PerformanceMetricsDto)),
      description: 'How fast this replica is: now, then once a second.',
      scope: 'performance:read',
      subscribe: (get, _, caller) =>
        limited(get, caller, (signal) => get(PerformanceReport).follow(signal)),
    },
    performanceAlert: {
      type: new GraphQLNonNull(types.output(PerformanceAlertDto)),
      description: 'Alerts of this replica as they are raised and, with `resolvedAt`, as they end.',
      scope: 'performance:read',
      args: { severity: { type: types.words(SEVERITIES), description: 'Left out: any.' } },
      subscribe: (get, { severity }, caller) =>
        limited(get, caller, (signal) =>
          chosen(
            get(AlertState).follow(signal),
            (alert) => (severity ?? alert.severity) === alert.severity,
          ),
        ),
    },
    cacheInvalidated: {
      type: new GraphQLNonNull(types.output(CacheInvalidationDto)),
      description:
        'Requested invalidations, on whichever replica, that concern organizations of the token alone.',
      scope: 'performance:read',
      args: {
        pattern: {
          type: GraphQLString,
          description: 'Those of this pattern, `*` standing for any text. Left out: all.',
        },
      },
      subscribe: (get, { pattern }, caller) => {
        if (typeof pattern === 'string') requireValid(InvalidationQuery, { pattern });
        const isMeant = typeof pattern === 'string' ? globMatcher(pattern) : () => true;
        requireOrganizations(caller.principal);
        const { organizations } = caller.principal;
        return limited(get, caller, (signal) =>
          chosen(
            get(CacheInvalidation).follow(signal),
            (done) => isMeant(done.pattern) && coversAll(organizations, done.tenants),
          ),
        );
      },
    },
  };
}

function coversAll(organizations: Organizations, ids: Organizations): boolean {
  if (organizations === '*' || ids === '*') return organizations === '*';
  return ids.every((id) => organizations.includes(id));
}
