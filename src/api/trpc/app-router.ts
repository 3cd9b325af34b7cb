import { initTRPC, tracked, type TrackedEnvelope } from '@trpc/server';
import { failureOf, failureShape, type FailureShape, requestIdOfError } from './failure';
import type { BulkCreateAuditEventsDto } from '../../audit/event/dto/create-audit-event.dto';
import type { AuditEventDto, BulkCreateResultDto } from '../../audit/event/dto/responses.dto';
import type { StreamedEvent } from '../../audit/feed/audit-event-stream';
import type { AuditEventFeedDto, AuditEventStreamDto } from '../../audit/feed/feed.dto';
import type { FoundEvents } from '../../audit/read/audit-search';
import type {
  AuditEventCountsDto,
  AuditEventCountsSearchDto,
} from '../../audit/read/dto/audit-event-counts.dto';
import type { AuditEventSearchDto } from '../../audit/read/dto/audit-event-search.dto';
import type {
  InvalidationQuery,
  WarmupDto,
  CacheInvalidationDto,
  CacheStatisticsDto,
  WarmupResultDto,
} from '../../caching/cache.openapi';
import type {
  DatabaseHealthStatusDto,
  DatabaseOptimizationResultDto,
  DatabasePerformanceReportDto,
} from '../../maintenance/dto/responses.dto';
import type {
  PerformanceAlertDto,
  PerformanceHealthDto,
  PerformanceMetricsDto,
} from '../../metrics/dto/responses.dto';
import type { AlertsQuery } from '../../metrics/performance.controller';
import { parseJsonWithPlaceholders } from '../../platform/runtime/lossless-json';

type OptimizedAuditEvents = Omit<FoundEvents, 'cursorAfter'>;

export interface ProcedureCall {
  path: string;
  input: unknown;
  /** The position of the call in its request. */
  batchIndex?: number | undefined;
}

interface FedEvent {
  text: string;
  readonly cursor: string;
}

interface ProcedureContext {
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

const call = <Output>({
  ctx,
  path,
  input,
  batchIndex,
}: ProcedureCall & { ctx: ProcedureContext }): Promise<Output> =>
  ctx.call({ path, input, batchIndex }) as Promise<Output>;

const query = <Output, Input = void>() =>
  t.procedure.input(typed<Input>()).query((options) => call<Output>(options));

const mutation = <Output, Input = void>() =>
  t.procedure.input(typed<Input>()).mutation((options) => call<Output>(options));

/** tRPC lets a procedure be either a query or a subscription. */
const streamAuditEvents = {
  query: t.procedure
    .input(typed<AuditEventStreamDto | void>())
    .query(async (options) => eventsIn(await call<AsyncIterable<StreamedEvent>>(options))),
  subscription: t.procedure
    .input(typed<AuditEventStreamDto | void>())
    .subscription(async (options) =>
      watched(trackedIn(await call<AsyncIterable<StreamedEvent>>(options))),
    ),
};

const auditEventRecorded = t.procedure
  .input(typed<AuditEventFeedDto | void>())
  .subscription(async (options) =>
    watched(trackedIn(await call<AsyncIterable<FedEvent>>(options))),
  );

async function* eventsIn(stream: AsyncIterable<StreamedEvent>): AsyncGenerator<AuditEventDto> {
  for await (const { text } of stream) yield eventIn(text);
}

async function* trackedIn(
  stream: AsyncIterable<FedEvent>,
): AsyncGenerator<TrackedEnvelope<AuditEventDto>> {
  for await (const { text, cursor } of stream) yield tracked(cursor, eventIn(text));
}

function eventIn(text: string): AuditEventDto {
  return parseJsonWithPlaceholders(text) as AuditEventDto;
}

/** Every procedure, by path; `@Procedure` of its handler has the path. */
export const appRouter = t.router({
  performance: t.router({
    getOptimizedAuditEvents: query<OptimizedAuditEvents, AuditEventSearchDto | void>(),
    getAuditEventCounts: query<AuditEventCountsDto, AuditEventCountsSearchDto>(),
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

/**
 * The same iteration, without unhandled rejections. tRPC asks for the next element before it awaits it, to know when to
 * ping; a failure meanwhile would end the process. A later `await` of the element still gets it.
 */
export function watched<T>(source: AsyncIterable<T>): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]: () => {
      const iterator = source[Symbol.asyncIterator]();
      return {
        next: () => {
          const next = iterator.next();
          next.catch(() => undefined);
          return next;
        },
        return: async () => {
          await iterator.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}
