import { ApiProperty } from '@nestjs/swagger';

/** Requests that could be answered from the cache, and how they were. */
export class CacheCountsDto {
  @ApiProperty({ type: Number, example: 93.75, description: 'Hits in percent of requests.' })
  hitRatio!: number;

  @ApiProperty({ type: 'integer', example: 160, description: 'Hits and misses.' })
  totalRequests!: number;

  @ApiProperty({ type: 'integer', example: 150 })
  totalHits!: number;

  @ApiProperty({ type: 'integer', example: 10 })
  totalMisses!: number;

  @ApiProperty({
    type: 'integer',
    example: 2,
    description: 'Answered without looking: by `no-cache` of the request or by the settings.',
  })
  excludedRequests!: number;
}

/** The same for the last minutes alone. */
export class CacheWindowDto {
  @ApiProperty({ type: 'integer', example: 300 })
  seconds!: number;

  @ApiProperty({ type: 'integer', example: 40 })
  requests!: number;

  @ApiProperty({ type: Number, nullable: true, example: 95, description: 'Null without requests.' })
  hitRatio!: number | null;
}

/** How the cache of the replica that answers does. */
export class CacheStatisticsDto extends CacheCountsDto {
  @ApiProperty({ type: 'integer', example: 10, description: 'Kept in this process.' })
  entries!: number;

  @ApiProperty({ type: Number, example: 0.31, description: 'What they take, in MiB.' })
  sizeMB!: number;

  @ApiProperty({ type: 'integer', example: 0, description: 'Pushed out to make room.' })
  evictions!: number;

  @ApiProperty({ type: () => CacheWindowDto })
  window!: CacheWindowDto;

  @ApiProperty({
    type: 'object',
    additionalProperties: { $ref: '#/components/schemas/CacheCountsDto' },
    description: 'By namespace.',
    example: {
      audit_events: {
        hitRatio: 93.75,
        totalRequests: 160,
        totalHits: 150,
        totalMisses: 10,
        excludedRequests: 2,
      },
    },
  })
  namespaces!: Record<string, CacheCountsDto>;

  @ApiProperty({
    type: String,
    enum: ['up', 'away', 'none'],
    example: 'up',
    description: 'Redis, the tier that replicas share: none when none is configured.',
  })
  sharedTier!: string;
}

/** What an invalidation did. */
export class CacheInvalidationDto {
  @ApiProperty({ type: String, example: 'audit_events*' })
  pattern!: string;

  @ApiProperty({ type: 'integer', example: 42, description: 'Different entries, in all tiers.' })
  invalidated!: number;

  @ApiProperty({ type: String, format: 'date-time', example: '2026-11-23T10:30:00.123Z' })
  timestamp!: string;
}

/** What a warm-up did. */
export class WarmupResultDto {
  @ApiProperty({ type: 'integer', example: 12, description: 'Answers that are kept now.' })
  warmedUp!: number;

  @ApiProperty({ type: 'integer', example: 0 })
  failed!: number;

  @ApiProperty({ type: 'integer', example: 12 })
  total!: number;

  @ApiProperty({ type: String, format: 'date-time', example: '2026-11-23T10:30:00.123Z' })
  timestamp!: string;
}
