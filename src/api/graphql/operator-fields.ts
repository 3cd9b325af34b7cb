import { GraphQLInt, GraphQLList, GraphQLNonNull, GraphQLString } from 'graphql';
import { resolveOrganizations } from '../../auth/principal';
import { KeyPattern } from '../../caching/cache-key';
import {
  CacheInvalidationDto,
  CacheStatisticsDto,
  DEFAULT_PRELOAD_DAYS,
  InvalidationQuery,
  WarmupDto,
  WarmupResultDto,
} from '../../caching/cache.openapi';
import { wallClockText } from '../../platform/runtime/clocks';
import {
  PerformanceAlertDto,
  PerformanceHealthDto,
  PerformanceMetricsDto,
} from '../../metrics/dto/responses.dto';
import { DatabaseHealthStatusDto } from '../../maintenance/dto/health-status.dto';
import { DatabaseOptimizationResultDto } from '../../maintenance/dto/optimization-result.dto';
import { DatabasePerformanceReportDto } from '../../maintenance/dto/performance-report.dto';
import type { DerivedTypes, Dto } from './derived-types';
import { requireValid, type RootFields } from './root-fields';

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
    performanceMetrics: of(PerformanceMetricsDto, 'How fast this replica is.', ({ report }) =>
      report.metrics(),
    ),
    performanceHealth: of(PerformanceHealthDto, 'How it does, and what to do.', ({ health }) =>
      health.check(),
    ),
    performanceAlerts: {
      type: new GraphQLNonNull(new GraphQLList(alert)),
      description: 'Those that are active, then up to a hundred that are over.',
      scope: 'performance:read',
      resolve: ({ alerts }) => alerts.all(),
    },
    cacheStats: of(CacheStatisticsDto, 'How the cache of this replica does.', ({ cache }) =>
      cache.statistics(),
    ),
    databasePerformanceReport: of(
      DatabasePerformanceReportDto,
      'How the database does.',
      ({ databaseReport }) => databaseReport.report(),
    ),
    databaseHealthStatus: of(
      DatabaseHealthStatusDto,
      'How healthy the database is.',
      ({ databaseStatus }) => databaseStatus.status(),
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
      resolve: async ({ invalidation, keyPrefix }, args, { principal }) => {
        const { pattern } = requireValid(InvalidationQuery, args);
        const invalidated = await invalidation.invalidate(
          new KeyPattern(pattern, keyPrefix),
          resolveOrganizations(principal, undefined),
        );
        return { pattern, invalidated, timestamp: wallClockText() };
      },
    },
    warmupCache: {
      type: new GraphQLNonNull(types.output(WarmupResultDto)),
      description: 'Reads what readers ask for first.',
      scope: 'performance:manage',
      args: {
        organizationIds: { type: new GraphQLList(new GraphQLNonNull(GraphQLString)) },
        preloadDays: { type: GraphQLInt, defaultValue: DEFAULT_PRELOAD_DAYS },
      },
      resolve: async ({ warmup }, args, { principal }) => {
        const { organizationIds, preloadDays } = requireValid(WarmupDto, args);
        const tenants = resolveOrganizations(principal, organizationIds ?? undefined);
        const result = await warmup.run(tenants, preloadDays ?? DEFAULT_PRELOAD_DAYS);
        return { ...result, timestamp: wallClockText() };
      },
    },
    optimizeDatabase: {
      type: new GraphQLNonNull(types.output(DatabaseOptimizationResultDto)),
      description: 'Maintains the database now; nobody waits for it. CONFLICT while it runs.',
      scope: 'performance:manage',
      resolve: ({ optimizer }) => optimizer.optimize(),
    },
  };
}
