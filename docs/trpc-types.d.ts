// Types of the tRPC routers, made by `npm run trpc-types`. See trpc.md.
import { TRPC_ERROR_CODE_KEY } from '@trpc/server';
import { TRPC_ERROR_CODES_BY_KEY } from '@trpc/server/rpc';

interface FieldError {
	path: string;
	message: string;
}
type ErrorCode = keyof typeof ERROR_TABLE;
interface ErrorRow {
	status: number;
	title: string;
	trpcCode: string;
	logLevel: "debug" | "warn" | "error";
}
declare const ERROR_TABLE: {
	VALIDATION_FAILED: ErrorRow;
	INVALID_CURSOR: ErrorRow;
	MALFORMED_JSON: ErrorRow;
	UNAUTHENTICATED: ErrorRow;
	FORBIDDEN: ErrorRow;
	NOT_FOUND: ErrorRow;
	METHOD_NOT_ALLOWED: ErrorRow;
	NOT_ACCEPTABLE: ErrorRow;
	CLIENT_TIMEOUT: ErrorRow;
	CONFLICT: ErrorRow;
	INCOMPATIBLE_SCHEMA: ErrorRow;
	TIMELINE_CHANGED: ErrorRow;
	REQUEST_TOO_LARGE: ErrorRow;
	URI_TOO_LONG: ErrorRow;
	UNSUPPORTED_MEDIA_TYPE: ErrorRow;
	IDEMPOTENCY_MISMATCH: ErrorRow;
	RATE_LIMITED: ErrorRow;
	HEADERS_TOO_LARGE: ErrorRow;
	CLIENT_CLOSED: ErrorRow;
	TOO_MANY_REQUESTS: ErrorRow;
	QUEUE_TIMEOUT: ErrorRow;
	SLOW_CONSUMER: ErrorRow;
	DATABASE_UNAVAILABLE: ErrorRow;
	AUTHENTICATION_UNAVAILABLE: ErrorRow;
	NOT_READY: ErrorRow;
	REQUEST_TIMEOUT: ErrorRow;
	INTERNAL: ErrorRow;
};
interface FailureData {
	code: TRPC_ERROR_CODE_KEY;
	httpStatus: number;
	path?: string;
	/** The same in every API, as in `UNAUTHENTICATED`. */
	kind: ErrorCode;
	requestId?: string;
	errors?: FieldError[];
	retryAfterSeconds?: number;
}
interface FailureShape {
	/** Of JSON-RPC. */
	code: (typeof TRPC_ERROR_CODES_BY_KEY)[TRPC_ERROR_CODE_KEY];
	message: string;
	data: FailureData;
}
declare const EVENT_STATUSES: readonly [
	"attempt",
	"success",
	"failure"
];
declare const DATA_CLASSIFICATIONS: readonly [
	"PUBLIC",
	"INTERNAL",
	"CONFIDENTIAL",
	"PHI"
];
type EventStatus = (typeof EVENT_STATUSES)[number];
type DataClassification = (typeof DATA_CLASSIFICATIONS)[number];
declare const EVENT_FIELDS: readonly [
	{
		readonly name: "id";
		readonly column: "id";
		readonly type: "uuid";
	},
	{
		readonly name: "timestamp";
		readonly column: "timestamp";
		readonly type: "timestamptz";
		readonly submicros: {
			readonly name: "timestampSubmicros";
			readonly column: "timestamp_submicros";
		};
	},
	{
		readonly name: "recordedAt";
		readonly column: "recorded_at";
		readonly type: "timestamptz";
		readonly isRecorded: true;
	},
	{
		readonly name: "sequence";
		readonly column: "sequence";
		readonly type: "bigint";
		readonly isRecorded: true;
	},
	{
		readonly type: "text";
		readonly comparison: "exact";
		readonly name: "organizationId";
		readonly column: "organization_id";
	},
	{
		readonly isNullable: true;
		readonly type: "text";
		readonly comparison: "exact";
		readonly name: "principalId";
		readonly column: "principal_id";
	},
	{
		readonly type: "text";
		readonly comparison: "exact";
		readonly name: "action";
		readonly column: "action";
	},
	{
		readonly isNullable: true;
		readonly type: "text";
		readonly comparison: "exact";
		readonly name: "targetResourceType";
		readonly column: "target_resource_type";
	},
	{
		readonly isNullable: true;
		readonly type: "text";
		readonly comparison: "exact";
		readonly name: "targetResourceId";
		readonly column: "target_resource_id";
	},
	{
		readonly words: readonly [
			"attempt",
			"success",
			"failure"
		];
		readonly type: "text";
		readonly comparison: "exact";
		readonly name: "status";
		readonly column: "status";
	},
	{
		readonly isNullable: true;
		readonly type: "text";
		readonly comparison: "exact";
		readonly name: "outcomeDescription";
		readonly column: "outcome_description";
	},
	{
		readonly words: readonly [
			"PUBLIC",
			"INTERNAL",
			"CONFIDENTIAL",
			"PHI"
		];
		readonly type: "text";
		readonly comparison: "exact";
		readonly name: "dataClassification";
		readonly column: "data_classification";
	},
	{
		readonly isNullable: true;
		readonly type: "text";
		readonly comparison: "exact";
		readonly name: "correlationId";
		readonly column: "correlation_id";
	},
	{
		readonly type: "json";
		readonly comparison: "json";
		readonly isNullable: true;
		readonly name: "sessionContext";
		readonly column: "session_context";
	},
	{
		readonly type: "json";
		readonly comparison: "json";
		readonly isNullable: true;
		readonly name: "metadata";
		readonly column: "metadata";
	},
	{
		readonly isSparse: true;
		readonly isNullable: true;
		readonly type: "text";
		readonly comparison: "exact";
		readonly name: "principalType";
		readonly column: "principal_type";
	},
	{
		readonly isSparse: true;
		readonly isNullable: true;
		readonly type: "text";
		readonly comparison: "exact";
		readonly name: "principalName";
		readonly column: "principal_name";
	},
	{
		readonly isSparse: true;
		readonly type: "json";
		readonly comparison: "json";
		readonly isNullable: true;
		readonly name: "targets";
		readonly column: "targets";
	},
	{
		readonly isSparse: true;
		readonly type: "json";
		readonly comparison: "json";
		readonly isNullable: true;
		readonly name: "changes";
		readonly column: "changes";
	},
	{
		readonly isSparse: true;
		readonly type: "json";
		readonly comparison: "json";
		readonly isNullable: true;
		readonly name: "source";
		readonly column: "source";
	},
	{
		readonly isSparse: true;
		readonly isNullable: true;
		readonly type: "text";
		readonly comparison: "exact";
		readonly name: "schemaVersion";
		readonly column: "schema_version";
	}
];
declare class SessionContextDto {
	sessionId?: string | null;
	ipAddress?: string | null;
	userAgent?: string | null;
	geolocation?: string | null;
}
declare class EventTargetDto {
	type?: string | null;
	id?: string | null;
	name?: string | null;
}
declare class EventChangeDto {
	path: string;
	old?: unknown;
	new?: unknown;
}
declare class EventSourceDto {
	service?: string | null;
	host?: string | null;
	version?: string | null;
}
declare class CreateAuditEventDto {
	id?: string | null;
	timestamp?: string | null;
	organizationId: string;
	principalId?: string | null;
	action: string;
	targetResourceType?: string | null;
	targetResourceId?: string | null;
	status: EventStatus;
	outcomeDescription?: string | null;
	dataClassification?: DataClassification | null;
	correlationId?: string | null;
	sessionContext?: SessionContextDto | null;
	metadata?: Record<string, unknown> | null;
	principalType?: string | null;
	principalName?: string | null;
	targets?: EventTargetDto[] | null;
	changes?: EventChangeDto[] | null;
	source?: EventSourceDto | null;
	schemaVersion?: string | null;
}
declare class BulkCreateAuditEventsDto {
	events: CreateAuditEventDto[];
	batchSize?: number | null;
}
declare class AuditEventDto {
	id: string;
	timestamp: string;
	recordedAt: string;
	sequence: string;
	organizationId: string;
	principalId: string | null;
	action: string;
	targetResourceType: string | null;
	targetResourceId: string | null;
	status: string;
	outcomeDescription: string | null;
	dataClassification: string;
	correlationId: string | null;
	sessionContext: SessionContextDto | null;
	metadata: Record<string, unknown> | null;
	principalType?: string;
	principalName?: string;
	targets?: EventTargetDto[];
	changes?: EventChangeDto[];
	source?: EventSourceDto;
	schemaVersion?: string;
}
declare class BulkResultDto {
	index: number;
	id: string;
	sequence: string;
	status: string;
}
declare class BulkPerformanceDto {
	totalTime: number;
	averageTimePerEvent: number;
	concurrencyUtilization: number;
}
declare class BulkCreateResultDto {
	created: number;
	duplicates: number;
	batches: number;
	results: BulkResultDto[];
	performance: BulkPerformanceDto;
}
declare const FILTERS: readonly [
	{
		readonly field: "principalId";
		readonly list: "principalIds";
		readonly parameter: "principal_ids";
		readonly description: "By these principals.";
		readonly example: "user-1,user-2";
		readonly qualifiers: readonly [
			"actor",
			"principal"
		];
	},
	{
		readonly field: "action";
		readonly list: "actions";
		readonly parameter: "actions";
		readonly description: "These actions.";
		readonly example: "user.login,user.logout";
		readonly qualifiers: readonly [
			"action"
		];
	},
	{
		readonly field: "status";
		readonly list: "statuses";
		readonly parameter: "statuses";
		readonly description: "With these outcomes.";
		readonly example: "failure,attempt";
		readonly qualifiers: readonly [
			"status"
		];
	},
	{
		readonly field: "dataClassification";
		readonly list: "dataClassifications";
		readonly parameter: "data_classifications";
		readonly description: "Of these classifications.";
		readonly example: "CONFIDENTIAL,PHI";
		readonly qualifiers: readonly [
			"classification"
		];
	},
	{
		readonly field: "targetResourceType";
		readonly list: "resourceTypes";
		readonly parameter: "resource_types";
		readonly description: "On resources of these types: any target of an event.";
		readonly example: "Patient,Observation";
		readonly qualifiers: readonly [
			"resource_type",
			"target_type"
		];
		readonly isOfTargets: true;
	},
	{
		readonly field: "targetResourceId";
		readonly list: "resourceIds";
		readonly parameter: "resource_ids";
		readonly description: "On these resources: any target of an event, the same one that has the type.";
		readonly example: "pat-1,pat-2";
		readonly qualifiers: readonly [
			"resource",
			"target"
		];
		readonly isOfTargets: true;
	},
	{
		readonly field: "correlationId";
		readonly list: "correlationIds";
		readonly parameter: "correlation_ids";
		readonly description: "With these correlation ids.";
		readonly example: "req-7f3a,req-7f3b";
		readonly qualifiers: readonly [
			"correlation"
		];
	},
	{
		readonly field: "principalType";
		readonly list: "principalTypes";
		readonly parameter: "principal_types";
		readonly description: "By principals of these kinds.";
		readonly example: "user,service";
		readonly qualifiers: readonly [
			"actor_type"
		];
	},
	{
		readonly field: "targetResourceType";
		readonly list: "targetTypes";
		readonly parameter: "target_types";
		readonly description: "With a target of these types. Filters of targets and of resources hold for one target each, which may be another.";
		readonly example: "Invoice,Order";
		readonly isOfTargets: true;
	},
	{
		readonly field: "targetResourceId";
		readonly list: "targetIds";
		readonly parameter: "target_ids";
		readonly description: "With one of these targets, the same one that has the type.";
		readonly example: "inv-17,inv-18";
		readonly isOfTargets: true;
	},
	{
		readonly field: "sessionContext";
		readonly member: "sessionId";
		readonly list: "sessionIds";
		readonly parameter: "session_ids";
		readonly description: "In these sessions.";
		readonly example: "s-81f3,s-81f4";
		readonly qualifiers: readonly [
			"session"
		];
	},
	{
		readonly field: "sessionContext";
		readonly member: "ipAddress";
		readonly list: "ipAddresses";
		readonly parameter: "ip_addresses";
		readonly description: "From these addresses, or from networks such as `10.1.0.0/16` or `2001:db8::/32`.";
		readonly example: "198.51.100.7,10.1.0.0/16";
		readonly qualifiers: readonly [
			"ip"
		];
		readonly isAddress: true;
	}
];
type Filter = (typeof FILTERS)[number];
type FilteredField<F extends Filter> = Extract<(typeof EVENT_FIELDS)[number], {
	name: F["field"];
}>;
type FilterLists<Name extends "list" | "parameter"> = {
	[F in Filter as F[Name]]?: FilteredField<F> extends {
		words: readonly (infer Word)[];
	} ? Word[] : string[];
};
interface AuditEventSort {
	field: "timestamp" | "sequence";
	direction: "asc" | "desc";
}
interface PageInfo {
	limit: number;
	/** Present on pages by offset alone. */
	offset?: number;
	/** Present with `include_total=true`; exact up to TOTAL_EXACT_UP_TO. */
	total?: number;
	/** False when `total` is a lower bound. */
	totalIsExact?: boolean;
	/**
	 * True when the time for a read ended before the page was full or the list at its end: the page has what was found, and
	 * its cursor goes on where the search ended. Absent on other pages.
	 */
	partial?: true;
	hasNext: boolean;
	hasPrevious: boolean;
	nextCursor?: string;
	previousCursor?: string;
	/** On the last page of an ascending list: leads to events that are added later. Never beside `nextCursor`. */
	resumeCursor?: string;
}
declare class DateRangeDto {
	startDate?: string | null;
	endDate?: string | null;
}
declare class TenantsAndTime {
	dateRange?: DateRangeDto | null;
	organizationIds?: string[] | null;
	metadata?: string[] | null;
	q?: string | null;
}
declare const AuditEventFilterDto_base: new () => TenantsAndTime & FilterLists<"list">;
declare class AuditEventFilterDto extends AuditEventFilterDto_base {
}
declare class AuditEventSortDto {
	field?: AuditEventSort["field"] | null;
	direction?: AuditEventSort["direction"] | null;
}
declare class PaginationDto {
	limit?: number | null;
	offset?: number | null;
	cursor?: string | null;
	sort?: AuditEventSortDto | null;
	includeTotal?: boolean | null;
}
declare class AuditEventSearchDto {
	filter?: AuditEventFilterDto | null;
	pagination?: PaginationDto | null;
	useCache?: boolean | null;
	cacheTTL?: number | null;
}
declare class AuditEventFeedDto {
	filter?: AuditEventFilterDto | null;
	lastEventId?: string | null;
}
declare class StreamingDto {
	format?: "json" | "ndjson" | null;
	chunkSize?: number | null;
	compression?: boolean | null;
}
declare class AuditEventStreamDto extends AuditEventSearchDto {
	streaming?: StreamingDto | null;
	lastEventId?: string | null;
}
declare const COUNT_KEYS: readonly [
	"action",
	"principal",
	"status",
	"resource_type",
	"day",
	"hour"
];
type CountKey = (typeof COUNT_KEYS)[number];
declare class AuditEventCountsSearchDto {
	by: CountKey;
	filter?: AuditEventFilterDto | null;
	timeZone?: string | null;
	useCache?: boolean | null;
	cacheTTL?: number | null;
}
declare class AuditEventCountDto {
	value: string | null;
	count: number;
	startDate?: string;
	endDate?: string;
}
declare class AuditEventCountsDto {
	by: CountKey;
	counts: AuditEventCountDto[];
	total: number;
	distinct: number;
	countIsExact: boolean;
	countedFrom?: string;
}
declare class InvalidationQuery {
	pattern: string;
}
declare class WarmupDto {
	organizationIds?: string[];
	preloadDays?: number;
}
declare class CacheCountsDto {
	hitRatio: number;
	totalRequests: number;
	totalHits: number;
	totalMisses: number;
	excludedRequests: number;
}
declare class CacheWindowDto {
	seconds: number;
	requests: number;
	hitRatio: number | null;
}
declare class CacheStatisticsDto extends CacheCountsDto {
	entries: number;
	sizeMB: number;
	evictions: number;
	window: CacheWindowDto;
	namespaces: Record<string, CacheCountsDto>;
	sharedTier: string;
}
declare class CacheInvalidationDto {
	pattern: string;
	invalidated: number;
	timestamp: string;
}
declare class WarmupResultDto {
	warmedUp: number;
	failed: number;
	total: number;
	timestamp: string;
}
interface CacheInfo {
	cached: boolean;
	cacheKey: string | null;
	/** Seconds. */
	ttl: number;
	/** Percent of the latest pages of this organization, or of a principal of several, in GraphQL and tRPC. */
	hitRatio: number;
}
interface FoundEvents {
	data: AuditEventDto[];
	pagination: PageInfo;
	cacheInfo: CacheInfo;
	/** The cursor after the event at an index of `data`. */
	cursorAfter: (index: number) => string;
}
declare class ConnectionPoolDto {
	totalConnections: number;
	activeConnections: number;
	waitingRequests: number;
	averageAcquisitionTime: number | null;
	successRate: number | null;
}
declare class QueryCacheDto {
	hitRatio: number | null;
	totalSizeMB: number | null;
	evictions: number | null;
}
declare class PartitionFiguresDto {
	totalPartitions: number;
	totalSizeGB: number;
	recommendations: string[];
}
declare class QueryPerformanceDto {
	slowQueries: number;
	unusedIndexes: number;
	cacheHitRatio: number | null;
	suggestions: string[];
}
declare class SealedIndexFiguresDto {
	totalIndexes: number;
	totalSizeGB: number;
	unsealedEvents: number;
	lastBuiltAt: string | null;
	failures: number;
	recommendations: string[];
}
declare class DatabasePerformanceReportDto {
	timestamp: string;
	connectionPool: ConnectionPoolDto;
	queryCache: QueryCacheDto;
	partitions: PartitionFiguresDto;
	sealedIndexes: SealedIndexFiguresDto;
	performance: QueryPerformanceDto;
}
type HealthLevel = "healthy" | "warning" | "critical";
declare class ComponentHealthDto {
	status: HealthLevel;
	details: Record<string, unknown>;
}
declare class DatabaseComponentsDto {
	connectionPool: ComponentHealthDto;
	queryCache: ComponentHealthDto;
	partitions: ComponentHealthDto;
	performance: ComponentHealthDto;
}
declare class DatabaseHealthStatusDto {
	overall: HealthLevel;
	components: DatabaseComponentsDto;
	recommendations: string[];
}
declare class PartitionOptimizationDto {
	table: string;
	month: string;
	action: "created" | "skipped";
	reason: string;
}
declare class IndexOptimizationDto {
	index: string;
	table: string;
	action: "built" | "dropped" | "skipped" | "suggested";
	reason: string;
	sizeBytes: number;
}
declare class TableMaintenanceDto {
	table: string;
	action: "done" | "skipped";
	reason: string;
	liveRows: number;
	deadRowsBefore: number;
	deadRowsAfter: number;
	durationMs: number;
}
declare class ReindexResultDto {
	index: string;
	table: string;
	action: "done" | "skipped";
	reason: string;
	sizeBytesBefore: number;
	sizeBytesAfter: number;
	estimatedBloatPercent: number;
	durationMs: number;
}
declare class MaintenanceResultsDto {
	vacuumResults: TableMaintenanceDto[];
	analyzeResults: TableMaintenanceDto[];
	reindexResults: ReindexResultDto[];
}
declare class ConfigRecommendationDto {
	setting: string;
	currentValue: string;
	recommendedValue: string;
	reason: string;
}
declare class DatabaseOptimizationResultDto {
	partitionOptimization: PartitionOptimizationDto[];
	indexOptimization: IndexOptimizationDto[];
	maintenanceResults: MaintenanceResultsDto;
	configOptimization: ConfigRecommendationDto[];
	timestamp: string;
}
declare class PercentilesDto {
	p50: number;
	p95: number;
	p99: number;
}
declare class MemoryUsageDto {
	used: number;
	total: number;
	percentage: number;
}
declare class CacheTotalsDto {
	hitRatio: number;
	totalRequests: number;
	totalHits: number;
	totalMisses: number;
}
declare class ConcurrencyDto {
	activeRequests: number;
	queuedRequests: number;
	maxConcurrentRequests: number;
}
declare class EventLoopDelayDto {
	p50: number;
	p99: number;
}
declare class SlowEndpointDto {
	endpoint: string;
	averageTime: number;
	count: number;
}
declare class SlowRequestsDto {
	count: number;
	averageTime: number;
	slowestEndpoints: SlowEndpointDto[];
}
declare class WindowDto {
	seconds: number;
	requests: number;
}
declare class SpanDto {
	seconds: number;
	requests: number;
	requestsPerSecond: number;
	averageResponseTime: number;
	percentiles: PercentilesDto;
}
declare class PerformanceMetricsDto {
	timestamp: string;
	window: WindowDto;
	requestsPerSecond: number;
	averageResponseTime: number;
	percentiles: PercentilesDto;
	lastHour: SpanDto;
	memoryUsage: MemoryUsageDto;
	cacheStats: CacheTotalsDto;
	concurrency: ConcurrencyDto;
	eventLoopDelay: EventLoopDelayDto;
	slowRequests: SlowRequestsDto;
}
declare const STATUSES: readonly [
	"healthy",
	"warning",
	"critical"
];
type HealthStatus = (typeof STATUSES)[number];
declare class CacheHealthDto {
	status: HealthStatus;
	hitRatio: number;
}
declare class ConcurrencyHealthDto {
	status: HealthStatus;
	utilization: number;
}
declare class MemoryHealthDto {
	status: HealthStatus;
	usage: number;
}
declare class HealthDetailsDto {
	cache: CacheHealthDto;
	concurrency: ConcurrencyHealthDto;
	memory: MemoryHealthDto;
}
declare class PerformanceHealthDto {
	status: HealthStatus;
	details: HealthDetailsDto;
	recommendations: string[];
}
declare const SEVERITIES: readonly [
	"LOW",
	"MEDIUM",
	"HIGH",
	"CRITICAL"
];
type AlertSeverity = (typeof SEVERITIES)[number];
declare const ALERT_TYPES: readonly [
	"HIGH_MEMORY",
	"LOW_CACHE_HIT_RATIO",
	"HIGH_CONCURRENCY",
	"SLOW_REQUESTS",
	"POOL_EXHAUSTED",
	"DATABASE_UNAVAILABLE",
	"REDIS_UNAVAILABLE",
	"KEY_SET_UNAVAILABLE",
	"PARTITION_MISSING",
	"EVENTS_LOST",
	"COMMITS_STALLED"
];
type AlertType = (typeof ALERT_TYPES)[number];
declare class PerformanceAlertDto {
	id: string;
	severity: AlertSeverity;
	type: AlertType;
	title: string;
	description: string;
	timestamp: string;
	resolvedAt?: string;
	source: string;
	metadata: Record<string, unknown>;
}
declare const STATES: readonly [
	"active",
	"resolved"
];
declare class AlertsQuery {
	severity?: AlertSeverity;
	state?: (typeof STATES)[number];
}
type OptimizedAuditEvents = Omit<FoundEvents, "cursorAfter">;
interface ProcedureCall {
	path: string;
	input: unknown;
	/** The position of the call in its request. */
	batchIndex?: number | undefined;
}
interface ProcedureContext {
	requestId: string;
	/** Calls the handler of the procedure, behind its guards, interceptors and pipes. */
	call: (call: ProcedureCall) => Promise<unknown>;
}
declare const appRouter: import("@trpc/server").TRPCBuiltRouter<{
	ctx: ProcedureContext;
	meta: object;
	errorShape: FailureShape;
	transformer: false;
}, import("@trpc/server").TRPCDecorateCreateRouterOptions<{
	performance: import("@trpc/server").TRPCBuiltRouter<{
		ctx: ProcedureContext;
		meta: object;
		errorShape: FailureShape;
		transformer: false;
	}, import("@trpc/server").TRPCDecorateCreateRouterOptions<{
		getOptimizedAuditEvents: import("@trpc/server").TRPCQueryProcedure<{
			input: void | AuditEventSearchDto;
			output: OptimizedAuditEvents;
			meta: object;
			errorShape: FailureShape;
		}>;
		getAuditEventCounts: import("@trpc/server").TRPCQueryProcedure<{
			input: AuditEventCountsSearchDto;
			output: AuditEventCountsDto;
			meta: object;
			errorShape: FailureShape;
		}>;
		getMetrics: import("@trpc/server").TRPCQueryProcedure<{
			input: void;
			output: PerformanceMetricsDto;
			meta: object;
			errorShape: FailureShape;
		}>;
		getHealthStatus: import("@trpc/server").TRPCQueryProcedure<{
			input: void;
			output: PerformanceHealthDto;
			meta: object;
			errorShape: FailureShape;
		}>;
		getAlerts: import("@trpc/server").TRPCQueryProcedure<{
			input: void | AlertsQuery;
			output: PerformanceAlertDto[];
			meta: object;
			errorShape: FailureShape;
		}>;
		streamAuditEvents: import("@trpc/server").TRPCQueryProcedure<{
			input: void | AuditEventStreamDto;
			output: AsyncGenerator<AuditEventDto, any, any>;
			meta: object;
			errorShape: FailureShape;
		}>;
		auditEventRecorded: import("@trpc/server").TRPCSubscriptionProcedure<{
			input: void | AuditEventFeedDto;
			output: AsyncIterable<import("@trpc/server/unstable-core-do-not-import").TrackedData<AuditEventDto>, any, any>;
			meta: object;
			errorShape: FailureShape;
		}>;
		bulkCreateAuditEvents: import("@trpc/server").TRPCMutationProcedure<{
			input: BulkCreateAuditEventsDto;
			output: BulkCreateResultDto;
			meta: object;
			errorShape: FailureShape;
		}>;
		cacheOperations: import("@trpc/server").TRPCBuiltRouter<{
			ctx: ProcedureContext;
			meta: object;
			errorShape: FailureShape;
			transformer: false;
		}, import("@trpc/server").TRPCDecorateCreateRouterOptions<{
			getStats: import("@trpc/server").TRPCQueryProcedure<{
				input: void;
				output: CacheStatisticsDto;
				meta: object;
				errorShape: FailureShape;
			}>;
			invalidate: import("@trpc/server").TRPCMutationProcedure<{
				input: InvalidationQuery;
				output: CacheInvalidationDto;
				meta: object;
				errorShape: FailureShape;
			}>;
			warmUp: import("@trpc/server").TRPCMutationProcedure<{
				input: void | WarmupDto;
				output: WarmupResultDto;
				meta: object;
				errorShape: FailureShape;
			}>;
		}>>;
		databaseOptimization: import("@trpc/server").TRPCBuiltRouter<{
			ctx: ProcedureContext;
			meta: object;
			errorShape: FailureShape;
			transformer: false;
		}, import("@trpc/server").TRPCDecorateCreateRouterOptions<{
			getReport: import("@trpc/server").TRPCQueryProcedure<{
				input: void;
				output: DatabasePerformanceReportDto;
				meta: object;
				errorShape: FailureShape;
			}>;
			optimize: import("@trpc/server").TRPCMutationProcedure<{
				input: void;
				output: DatabaseOptimizationResultDto;
				meta: object;
				errorShape: FailureShape;
			}>;
			getHealthStatus: import("@trpc/server").TRPCQueryProcedure<{
				input: void;
				output: DatabaseHealthStatusDto;
				meta: object;
				errorShape: FailureShape;
			}>;
		}>>;
	}>>;
}>>;
/** The type of a client: `createTRPCClient<AppRouter>(…)`. */
export type AppRouter = typeof appRouter;
declare const subscriptionRouter: import("@trpc/server").TRPCBuiltRouter<{
	ctx: ProcedureContext;
	meta: object;
	errorShape: FailureShape;
	transformer: false;
}, import("@trpc/server").TRPCDecorateCreateRouterOptions<{
	performance: import("@trpc/server").TRPCBuiltRouter<{
		ctx: ProcedureContext;
		meta: object;
		errorShape: FailureShape;
		transformer: false;
	}, import("@trpc/server").TRPCDecorateCreateRouterOptions<{
		streamAuditEvents: import("@trpc/server").TRPCSubscriptionProcedure<{
			input: void | AuditEventStreamDto;
			output: AsyncIterable<import("@trpc/server/unstable-core-do-not-import").TrackedData<AuditEventDto>, any, any>;
			meta: object;
			errorShape: FailureShape;
		}>;
		auditEventRecorded: import("@trpc/server").TRPCSubscriptionProcedure<{
			input: void | AuditEventFeedDto;
			output: AsyncIterable<import("@trpc/server/unstable-core-do-not-import").TrackedData<AuditEventDto>, any, any>;
			meta: object;
			errorShape: FailureShape;
		}>;
	}>>;
}>>;
/** For a client that resumes `streamAuditEvents`: `createTRPCClient<SubscriptionRouter>(…)` with `httpSubscriptionLink`. */
export type SubscriptionRouter = typeof subscriptionRouter;

export {};
