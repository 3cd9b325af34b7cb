import { initTRPC, tracked, type TrackedEnvelope } from '@trpc/server';
import type { StreamedEvent } from '../../audit/feed/audit-event-stream';
import type { FoundEvents } from '../../audit/read/audit-search';
import type { AuditEventDto, BulkCreateResultDto } from '../../audit/event/dto/responses.dto';
import type { AuditEventSearchDto } from '../../audit/read/dto/audit-event-search.dto';
import type { AuditEventFeedDto, AuditEventStreamDto } from '../../audit/feed/feed.dto';
import type { BulkCreateAuditEventsDto } from '../../audit/event/dto/create-audit-event.dto';
import type {
  CacheInvalidationDto,
  CacheStatisticsDto,
  InvalidationQuery,
  WarmupDto,
  WarmupResultDto,
} from '../../caching/cache.openapi';
import type { DatabaseHealthStatusDto } from '../../maintenance/dto/health-status.dto';
import type { DatabaseOptimizationResultDto } from '../../maintenance/dto/optimization-result.dto';
import type { DatabasePerformanceReportDto } from '../../maintenance/dto/performance-report.dto';
import type {
  PerformanceAlertDto,
  PerformanceHealthDto,
  PerformanceMetricsDto,
} from '../../metrics/dto/responses.dto';
import { parseJsonWithPlaceholders } from '../../platform/runtime/lossless-json';
import type { AlertsQuery } from '../../metrics/performance.controller';
import { failureOf, failureShape, requestIdOfError, type FailureShape } from './failure';
import { watched } from './watched-iterable';

export type OptimizedAuditEvents = Omit<FoundEvents, 'cursorAfter'>;

export interface ProcedureCall {
  path: string;
  input: unknown;
  /** The position of the call in its request. */
  batchIndex?: number | undefined;
}

interface FedEvent {
  text: string;
  readonly cursor: string | null;
}

export interface ProcedureContext {
  requestId: string;
  /** Calls the handler of the procedure, behind its guards, interceptors and pipes. */
  call: (call: ProcedureCall) => Promise<unknown>;
}

/** Proxies disconnect after a minute of silence. */
const PING_MS = 15_000;

const t = initTRPC.context<ProcedureContext>().create({
  isDev: false,
  jsonl: { pingMs: PING_MS },
  sse: {
    ping: { enabled: true, intervalMs: PING_MS },
    client: { reconnectAfterInactivityMs: 3 * PING_MS },
  },
  errorFormatter: ({ error, path, ctx }): FailureShape =>
    failureShape(failureOf(error), { path, requestId: ctx?.requestId ?? requestIdOfError(error) }),
});

/** The type of an input, for clients: it is validated behind the guards. */
const typed =
  <Input>() =>
  (input: unknown): Input =>
    input as Input;

const query = <Output, Input = void>() =>
  t.procedure
    .input(typed<Input>())
    .query(({ ctx, path, input, batchIndex }) => call<Output>(ctx, { path, input, batchIndex }));

const mutation = <Output, Input = void>() =>
  t.procedure
    .input(typed<Input>())
    .mutation(({ ctx, path, input, batchIndex }) => call<Output>(ctx, { path, input, batchIndex }));

function call<Output>(ctx: ProcedureContext, request: ProcedureCall): Promise<Output> {
  return ctx.call(request) as Promise<Output>;
}

/** tRPC lets a procedure be either a query or a subscription. */
const streamAuditEvents = {
  query: t.procedure
    .input(typed<AuditEventStreamDto | void>())
    .query(async ({ ctx, path, input, batchIndex }) =>
      eventsIn(await call<AsyncIterable<StreamedEvent>>(ctx, { path, input, batchIndex })),
    ),
  subscription: t.procedure
    .input(typed<AuditEventStreamDto | void>())
    .subscription(async ({ ctx, path, input, batchIndex }) =>
      watched(
        trackedIn(await call<AsyncIterable<StreamedEvent>>(ctx, { path, input, batchIndex })),
      ),
    ),
};

const auditEventRecorded = t.procedure
  .input(typed<AuditEventFeedDto | void>())
  .subscription(async ({ ctx, path, input, batchIndex }) =>
    watched(trackedIn(await call<AsyncIterable<FedEvent>>(ctx, { path, input, batchIndex }))),
  );

async function* eventsIn(stream: AsyncIterable<StreamedEvent>): AsyncGenerator<AuditEventDto> {
  for await (const { text } of stream) yield eventIn(text);
}

/** The id of events after which a feed cannot resume: it fails, rather than skip events. */
const NO_CURSOR = '-';

async function* trackedIn(
  stream: AsyncIterable<FedEvent>,
): AsyncGenerator<TrackedEnvelope<AuditEventDto>> {
  for await (const { text, cursor } of stream) yield tracked(cursor ?? NO_CURSOR, eventIn(text));
}

function eventIn(text: string): AuditEventDto {
  return parseJsonWithPlaceholders(text) as AuditEventDto;
}

/** Every procedure, by path; `@Procedure` of its handler has the path. */
export const appRouter = t.router({
  performance: t.router({
    getOptimizedAuditEvents: query<OptimizedAuditEvents, AuditEventSearchDto | void>(),
    getMetrics: query<PerformanceMetricsDto>(),
    getHealthStatus: query<PerformanceHealthDto>(),
    getAlerts: query<PerformanceAlertDto[], AlertsQuery | void>(),
    streamAuditEvents: streamAuditEvents.query,
    auditEventRecorded,
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

/** The type of a client: `createTRPCClient<AppRouter>(…)`. */
export type AppRouter = typeof appRouter;

/** The procedures at the same paths for clients that ask for server-sent events. */
export const subscriptionRouter = t.router({
  performance: t.router({
    streamAuditEvents: streamAuditEvents.subscription,
    auditEventRecorded,
  }),
});

/** For a client that resumes `streamAuditEvents`: `createTRPCClient<SubscriptionRouter>(…)` with `httpSubscriptionLink`. */
export type SubscriptionRouter = typeof subscriptionRouter;
