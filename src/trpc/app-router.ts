import { initTRPC } from '@trpc/server';
import type { FoundEvents } from '../audit/audit-search';
import type { BulkCreateResultDto } from '../audit/dto/answers.dto';
import type { AuditEventSearchDto } from '../audit/dto/audit-event-search.dto';
import type { BulkCreateAuditEventsDto } from '../audit/dto/create-audit-event.dto';
import type {
  CacheInvalidationDto,
  CacheStatisticsDto,
  WarmupResultDto,
} from '../caching/dto/answers.dto';
import type { InvalidationQuery, WarmupDto } from '../caching/dto/requests.dto';
import type { DatabaseHealthStatusDto } from '../database/dto/health-status.dto';
import type { DatabaseOptimizationResultDto } from '../database/dto/optimization-result.dto';
import type { DatabasePerformanceReportDto } from '../database/dto/performance-report.dto';
import type {
  PerformanceAlertDto,
  PerformanceHealthDto,
  PerformanceMetricsDto,
} from '../metrics/dto/answers.dto';
import type { AlertsQuery } from '../metrics/performance.controller';
import { failureOf, failureShape, type FailureShape } from './failure';

/** A page of events. */
export type OptimizedAuditEvents = Omit<FoundEvents, 'cursorAfter'>;

/** One call of a procedure, as tRPC hands it over. */
export interface ProcedureCall {
  path: string;
  input: unknown;
  /** Which of the calls of its request it is. */
  batchIndex?: number | undefined;
}

/** What stands behind the router. */
export interface CallContext {
  requestId: string;
  /** Has the handler of the procedure called, with everything that stands before it. */
  call: (call: ProcedureCall) => Promise<unknown>;
}

const t = initTRPC.context<CallContext>().create({
  isDev: false,
  errorFormatter: ({ error, path, ctx }): FailureShape =>
    failureShape(failureOf(error), { path, requestId: ctx?.requestId }),
});

/** Only says which type an input has: it is validated behind the guards, where everybody's input is. */
const typed =
  <Input>() =>
  (input: unknown): Input =>
    input as Input;

/** A procedure without input, or with one that may be left out. */
const query = <Output, Input = void>() =>
  t.procedure
    .input(typed<Input>())
    .query(({ ctx, path, input, batchIndex }) => call<Output>(ctx, { path, input, batchIndex }));

const mutation = <Output, Input = void>() =>
  t.procedure
    .input(typed<Input>())
    .mutation(({ ctx, path, input, batchIndex }) => call<Output>(ctx, { path, input, batchIndex }));

function call<Output>(ctx: CallContext, request: ProcedureCall): Promise<Output> {
  return ctx.call(request) as Promise<Output>;
}

/** Every procedure, by path. What each does is said by the handler that carries its path in `@Procedure`. */
export const appRouter = t.router({
  performance: t.router({
    getOptimizedAuditEvents: query<OptimizedAuditEvents, AuditEventSearchDto | void>(),
    getMetrics: query<PerformanceMetricsDto>(),
    getHealthStatus: query<PerformanceHealthDto>(),
    getAlerts: query<PerformanceAlertDto[], AlertsQuery | void>(),
    bulkCreateAuditEvents: mutation<BulkCreateResultDto, BulkCreateAuditEventsDto>(),
    cacheOperations: t.router({
      getStats: query<CacheStatisticsDto>(),
      invalidate: mutation<CacheInvalidationDto, InvalidationQuery>(),
      warmUp: mutation<WarmupResultDto, WarmupDto | void>(),
    }),
    databaseOptimization: t.router({
      getReport: query<DatabasePerformanceReportDto>(),
      optimize: mutation<DatabaseOptimizationResultDto>(),
      getHealthStatus: query<DatabaseHealthStatusDto>(),
    }),
  }),
});

/** What a client is made of: `createTRPCClient<AppRouter>(…)`. */
export type AppRouter = typeof appRouter;
