import { ApiProperty } from '@nestjs/swagger';
import {
  ApiInstant,
  ApiInteger,
  ApiNumber,
  ApiObject,
  ApiPart,
  ApiParts,
  ApiText,
  ApiUuid,
  ApiWord,
} from '../../validation/dto-properties';

export class PercentilesDto {
  @ApiNumber(2.1)
  p50!: number;

  @ApiNumber(9.7)
  p95!: number;

  @ApiNumber(24.3)
  p99!: number;
}

export class MemoryUsageDto {
  @ApiInteger(93_847_552, 'Bytes.')
  used!: number;

  @ApiInteger(
    2_197_815_296,
    'Bytes that would end the process: the limit of the V8 heap, or of the container (of the machine, without one).',
  )
  total!: number;

  @ApiNumber(4.3)
  percentage!: number;
}

export class CacheTotalsDto {
  @ApiNumber(93.75, 'Hits in percent of requests.')
  hitRatio!: number;

  @ApiInteger(160)
  totalRequests!: number;

  @ApiInteger(150)
  totalHits!: number;

  @ApiInteger(10)
  totalMisses!: number;
}

export class ConcurrencyDto {
  @ApiInteger(12)
  activeRequests!: number;

  @ApiInteger(0)
  queuedRequests!: number;

  @ApiInteger(50)
  maxConcurrentRequests!: number;
}

export class EventLoopDelayDto {
  @ApiNumber(0.12)
  p50!: number;

  @ApiNumber(4.2)
  p99!: number;
}

export class SlowEndpointDto {
  @ApiText('GET /api/v1/audit/events/:id')
  endpoint!: string;

  @ApiNumber(812.4, 'Milliseconds, of the slow ones.')
  averageTime!: number;

  @ApiInteger(3)
  count!: number;
}

export class SlowRequestsDto {
  @ApiInteger(3)
  count!: number;

  @ApiNumber(812.4, 'Milliseconds.')
  averageTime!: number;

  @ApiParts(() => SlowEndpointDto, 'The ten slowest.')
  slowestEndpoints!: SlowEndpointDto[];
}

export class WindowDto {
  @ApiNumber(
    59.4,
    'Seconds that are looked back over: a minute, less while the process is younger.',
  )
  seconds!: number;

  @ApiInteger(1204, 'Requests that ended in them.')
  requests!: number;
}

export class SpanDto {
  @ApiNumber(3571.2, 'Seconds that are looked back over: less while the process is younger.')
  seconds!: number;

  @ApiInteger(51_204, 'Requests that ended in them.')
  requests!: number;

  @ApiNumber(14.34)
  requestsPerSecond!: number;

  @ApiNumber(3.9, 'Milliseconds.')
  averageResponseTime!: number;

  @ApiPart(() => PercentilesDto, 'Exact to 1 %.')
  percentiles!: PercentilesDto;
}

export class PerformanceMetricsDto {
  @ApiInstant()
  timestamp!: string;

  @ApiPart(() => WindowDto)
  window!: WindowDto;

  @ApiNumber(20.27, 'Over the window, all protocols.')
  requestsPerSecond!: number;

  @ApiNumber(3.4, 'Milliseconds, over the window.')
  averageResponseTime!: number;

  @ApiPart(() => PercentilesDto, 'Over the window; exact to 1 %.')
  percentiles!: PercentilesDto;

  @ApiPart(() => SpanDto, 'The same over the last hour, in whole minutes and the one under way.')
  lastHour!: SpanDto;

  @ApiPart(() => MemoryUsageDto)
  memoryUsage!: MemoryUsageDto;

  @ApiPart(() => CacheTotalsDto)
  cacheStats!: CacheTotalsDto;

  @ApiPart(() => ConcurrencyDto)
  concurrency!: ConcurrencyDto;

  @ApiPart(() => EventLoopDelayDto)
  eventLoopDelay!: EventLoopDelayDto;

  @ApiPart(() => SlowRequestsDto)
  slowRequests!: SlowRequestsDto;
}

const STATUSES = ['healthy', 'warning', 'critical'] as const;
export type HealthStatus = (typeof STATUSES)[number];

export class CacheHealthDto {
  @ApiWord(STATUSES, 'healthy')
  status!: HealthStatus;

  @ApiNumber(93.75, 'Percent, over the last five minutes; 0 without requests, which is no fault.')
  hitRatio!: number;
}

export class ConcurrencyHealthDto {
  @ApiWord(STATUSES, 'healthy')
  status!: HealthStatus;

  @ApiNumber(24, 'Percent.')
  utilization!: number;
}

export class MemoryHealthDto {
  @ApiWord(STATUSES, 'healthy')
  status!: HealthStatus;

  @ApiNumber(4.3, 'Percent.')
  usage!: number;
}

export class HealthDetailsDto {
  @ApiPart(() => CacheHealthDto)
  cache!: CacheHealthDto;

  @ApiPart(() => ConcurrencyHealthDto)
  concurrency!: ConcurrencyHealthDto;

  @ApiPart(() => MemoryHealthDto)
  memory!: MemoryHealthDto;
}

export class PerformanceHealthDto {
  @ApiWord(STATUSES, 'healthy', 'The worst of the details and of the active alerts.')
  status!: HealthStatus;

  @ApiPart(() => HealthDetailsDto)
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
export type AlertSeverity = (typeof SEVERITIES)[number];

export const ALERT_TYPES = [
  'HIGH_MEMORY',
  'LOW_CACHE_HIT_RATIO',
  'HIGH_CONCURRENCY',
  'SLOW_REQUESTS',
  'POOL_EXHAUSTED',
  'DATABASE_UNAVAILABLE',
  'REDIS_UNAVAILABLE',
  'KEY_SET_UNAVAILABLE',
  'PARTITION_MISSING',
  'EVENTS_LOST',
  'COMMITS_STALLED',
] as const;
export type AlertType = (typeof ALERT_TYPES)[number];

export class PerformanceAlertDto {
  @ApiUuid(
    '7a0f3c52-9f0d-4c1e-8a53-0a7b0c6f4c1d',
    'The same from the beginning of an alert to its end.',
  )
  id!: string;

  @ApiWord(SEVERITIES, 'HIGH')
  severity!: AlertSeverity;

  @ApiWord(ALERT_TYPES, 'SLOW_REQUESTS')
  type!: AlertType;

  @ApiText('Requests are slow')
  title!: string;

  @ApiText('200 of 210 requests of the last 60 s took 500 ms or longer.')
  description!: string;

  @ApiInstant('When it was raised.')
  timestamp!: string;

  @ApiInstant('When it was over. Absent while it is not.', { required: false })
  resolvedAt?: string;

  @ApiText('requests', 'The part it is about.')
  source!: string;

  @ApiObject({ slow: 200, requests: 210, thresholdMs: 500 }, 'The figures it was raised on.')
  metadata!: Record<string, unknown>;
}
