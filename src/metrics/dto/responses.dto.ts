import { ApiProperty } from '@nestjs/swagger';

const INSTANT = { type: String, format: 'date-time', example: '2026-11-23T10:30:00.123Z' } as const;

/** Response times in milliseconds. */
export class PercentilesDto {
  @ApiProperty({ type: Number, example: 2.1 })
  p50!: number;

  @ApiProperty({ type: Number, example: 9.7 })
  p95!: number;

  @ApiProperty({ type: Number, example: 24.3 })
  p99!: number;
}

/** Memory against the limit that is nearer to being reached. */
export class MemoryUsageDto {
  @ApiProperty({ type: 'integer', example: 93_847_552, description: 'Bytes.' })
  used!: number;

  @ApiProperty({
    type: 'integer',
    example: 2_197_815_296,
    description:
      'Bytes that would end the process: the limit of the V8 heap, or of the container (of the machine, without one).',
  })
  total!: number;

  @ApiProperty({ type: Number, example: 4.3 })
  percentage!: number;
}

/** The response cache since the start. */
export class CacheTotalsDto {
  @ApiProperty({ type: Number, example: 93.75, description: 'Hits in percent of requests.' })
  hitRatio!: number;

  @ApiProperty({ type: 'integer', example: 160 })
  totalRequests!: number;

  @ApiProperty({ type: 'integer', example: 150 })
  totalHits!: number;

  @ApiProperty({ type: 'integer', example: 10 })
  totalMisses!: number;
}

/** Requests that run and wait now. */
export class ConcurrencyDto {
  @ApiProperty({ type: 'integer', example: 12 })
  activeRequests!: number;

  @ApiProperty({ type: 'integer', example: 0 })
  queuedRequests!: number;

  @ApiProperty({ type: 'integer', example: 50 })
  maxConcurrentRequests!: number;
}

/** How late the event loop is, in milliseconds. */
export class EventLoopDelayDto {
  @ApiProperty({ type: Number, example: 0.12 })
  p50!: number;

  @ApiProperty({ type: Number, example: 4.2 })
  p99!: number;
}

/** The slow requests of one endpoint. */
export class SlowEndpointDto {
  @ApiProperty({ type: String, example: 'GET /api/v1/audit/events/:id' })
  endpoint!: string;

  @ApiProperty({ type: Number, example: 812.4, description: 'Milliseconds, of the slow ones.' })
  averageTime!: number;

  @ApiProperty({ type: 'integer', example: 3 })
  count!: number;
}

/** Requests of the last hour that took longer than SLOW_REQUEST_THRESHOLD_MS. */
export class SlowRequestsDto {
  @ApiProperty({ type: 'integer', example: 3 })
  count!: number;

  @ApiProperty({ type: Number, example: 812.4, description: 'Milliseconds.' })
  averageTime!: number;

  @ApiProperty({ type: () => [SlowEndpointDto], description: 'The ten slowest.' })
  slowestEndpoints!: SlowEndpointDto[];
}

/** What the rates and times are about. */
export class WindowDto {
  @ApiProperty({
    type: Number,
    example: 59.4,
    description: 'Seconds that are looked back over: a minute, less while the process is younger.',
  })
  seconds!: number;

  @ApiProperty({ type: 'integer', example: 1204, description: 'Requests that ended in them.' })
  requests!: number;
}

/** Requests of a span of time, all doors. */
export class SpanDto {
  @ApiProperty({
    type: Number,
    example: 3571.2,
    description: 'Seconds that are looked back over: less while the process is younger.',
  })
  seconds!: number;

  @ApiProperty({ type: 'integer', example: 51_204, description: 'Requests that ended in them.' })
  requests!: number;

  @ApiProperty({ type: Number, example: 14.34 })
  requestsPerSecond!: number;

  @ApiProperty({ type: Number, example: 3.9, description: 'Milliseconds.' })
  averageResponseTime!: number;

  @ApiProperty({ type: () => PercentilesDto, description: 'Exact to 1 %.' })
  percentiles!: PercentilesDto;
}

/** How the replica that answers does. */
export class PerformanceMetricsDto {
  @ApiProperty(INSTANT)
  timestamp!: string;

  @ApiProperty({ type: () => WindowDto })
  window!: WindowDto;

  @ApiProperty({ type: Number, example: 20.27, description: 'Over the window, all doors.' })
  requestsPerSecond!: number;

  @ApiProperty({ type: Number, example: 3.4, description: 'Milliseconds, over the window.' })
  averageResponseTime!: number;

  @ApiProperty({ type: () => PercentilesDto, description: 'Over the window; exact to 1 %.' })
  percentiles!: PercentilesDto;

  @ApiProperty({
    type: () => SpanDto,
    description: 'The same over the last hour, in whole minutes and the one under way.',
  })
  lastHour!: SpanDto;

  @ApiProperty({ type: () => MemoryUsageDto })
  memoryUsage!: MemoryUsageDto;

  @ApiProperty({ type: () => CacheTotalsDto })
  cacheStats!: CacheTotalsDto;

  @ApiProperty({ type: () => ConcurrencyDto })
  concurrency!: ConcurrencyDto;

  @ApiProperty({ type: () => EventLoopDelayDto })
  eventLoopDelay!: EventLoopDelayDto;

  @ApiProperty({ type: () => SlowRequestsDto })
  slowRequests!: SlowRequestsDto;
}

const STATUSES = ['healthy', 'warning', 'critical'] as const;
/** How something is, as far as an operator has to care. */
export type HealthStatus = (typeof STATUSES)[number];
const STATUS = { type: String, enum: [...STATUSES], example: 'healthy' };

/** The cache over the last minutes. */
export class CacheHealthDto {
  @ApiProperty(STATUS)
  status!: HealthStatus;

  @ApiProperty({
    type: Number,
    example: 93.75,
    description: 'Percent, over the last five minutes; 0 without requests, which is no fault.',
  })
  hitRatio!: number;
}

/** Running requests against their limit. */
export class ConcurrencyHealthDto {
  @ApiProperty(STATUS)
  status!: HealthStatus;

  @ApiProperty({ type: Number, example: 24, description: 'Percent.' })
  utilization!: number;
}

/** Memory against its limit. */
export class MemoryHealthDto {
  @ApiProperty(STATUS)
  status!: HealthStatus;

  @ApiProperty({ type: Number, example: 4.3, description: 'Percent.' })
  usage!: number;
}

/** What performance depends on. */
export class HealthDetailsDto {
  @ApiProperty({ type: () => CacheHealthDto })
  cache!: CacheHealthDto;

  @ApiProperty({ type: () => ConcurrencyHealthDto })
  concurrency!: ConcurrencyHealthDto;

  @ApiProperty({ type: () => MemoryHealthDto })
  memory!: MemoryHealthDto;
}

/** How the service does and what can be done about it. */
export class PerformanceHealthDto {
  @ApiProperty({ ...STATUS, description: 'The worst of the details and of the active alerts.' })
  status!: HealthStatus;

  @ApiProperty({ type: () => HealthDetailsDto })
  details!: HealthDetailsDto;

  @ApiProperty({
    type: [String],
    description:
      'The likeliest bottleneck first, with the figures that point to it, then what else to look at. Empty when all is well.',
    example: [
      'Most likely bottleneck: the connection pool is exhausted. 10 of 10 connections are in use and 14 requests wait for one. Raise DATABASE_POOL_MAX, or make the slow statements faster.',
    ],
  })
  recommendations!: string[];
}

export const SEVERITIES = ['LOW', 'MEDIUM', 'HIGH', 'CRITICAL'] as const;
/** How bad it is. */
export type AlertSeverity = (typeof SEVERITIES)[number];

export const ALERT_TYPES = [
  'HIGH_MEMORY',
  'LOW_CACHE_HIT_RATIO',
  'HIGH_CONCURRENCY',
  'SLOW_REQUESTS',
  'POOL_EXHAUSTED',
  'DATABASE_UNAVAILABLE',
  'REDIS_UNAVAILABLE',
  'PARTITION_MISSING',
  'EVENTS_LOST',
  'COMMITS_STALLED',
] as const;
/** What it is about. There is at most one active alert of each type. */
export type AlertType = (typeof ALERT_TYPES)[number];

/** Something that an operator should know of. */
export class PerformanceAlertDto {
  @ApiProperty({
    type: String,
    format: 'uuid',
    example: '7a0f3c52-9f0d-4c1e-8a53-0a7b0c6f4c1d',
    description: 'The same from the beginning of an alert to its end.',
  })
  id!: string;

  @ApiProperty({ type: String, enum: [...SEVERITIES], example: 'HIGH' })
  severity!: AlertSeverity;

  @ApiProperty({ type: String, enum: [...ALERT_TYPES], example: 'SLOW_REQUESTS' })
  type!: AlertType;

  @ApiProperty({ type: String, example: 'Requests are slow' })
  title!: string;

  @ApiProperty({
    type: String,
    example: '200 of 210 requests of the last 60 s took 500 ms or longer.',
  })
  description!: string;

  @ApiProperty({ ...INSTANT, description: 'When it was raised.' })
  timestamp!: string;

  @ApiProperty({
    ...INSTANT,
    required: false,
    description: 'When it was over. Absent while it is not.',
  })
  resolvedAt?: string;

  @ApiProperty({ type: String, example: 'requests', description: 'The part it is about.' })
  source!: string;

  @ApiProperty({
    type: 'object',
    additionalProperties: true,
    example: { slow: 200, requests: 210, thresholdMs: 500 },
    description: 'The figures it was raised on.',
  })
  metadata!: Record<string, unknown>;
}
