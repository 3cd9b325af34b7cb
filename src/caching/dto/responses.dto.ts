import { ApiProperty } from '@nestjs/swagger';
import {
  ApiInstant,
  ApiInteger,
  ApiNumber,
  ApiPart,
  ApiText,
  ApiWord,
} from '../../validation/response-properties';

/** Counts since the start. */
export class CacheCountsDto {
  @ApiNumber(93.75, 'Hits in percent of requests.')
  hitRatio!: number;

  @ApiInteger(160, 'Hits and misses.')
  totalRequests!: number;

  @ApiInteger(150)
  totalHits!: number;

  @ApiInteger(10)
  totalMisses!: number;

  @ApiInteger(2, 'Answered without looking: by `no-cache` of the request or by the settings.')
  excludedRequests!: number;
}

/** Counts of the last minutes alone. */
export class CacheWindowDto {
  @ApiInteger(300)
  seconds!: number;

  @ApiInteger(40)
  requests!: number;

  @ApiNumber(95, 'Null without requests.', { nullable: true })
  hitRatio!: number | null;
}

/** Statistics of the replica that responds. */
export class CacheStatisticsDto extends CacheCountsDto {
  @ApiInteger(10, 'Kept in this process.')
  entries!: number;

  @ApiNumber(0.31, 'What they take, in MiB.')
  sizeMB!: number;

  @ApiInteger(0, 'Pushed out to make room.')
  evictions!: number;

  @ApiPart(() => CacheWindowDto)
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

  @ApiWord(
    ['up', 'away', 'none'],
    'up',
    'Redis, the tier that replicas share: none when none is configured.',
  )
  sharedTier!: string;
}

/** Result of an invalidation. */
export class CacheInvalidationDto {
  @ApiText('audit_events*')
  pattern!: string;

  @ApiInteger(42, 'Different entries, in all tiers.')
  invalidated!: number;

  @ApiInstant()
  timestamp!: string;
}

/** Result of a warm-up. */
export class WarmupResultDto {
  @ApiInteger(12, 'Answers that are kept now.')
  warmedUp!: number;

  @ApiInteger(0)
  failed!: number;

  @ApiInteger(12)
  total!: number;

  @ApiInstant()
  timestamp!: string;
}
