import { ApiProperty } from '@nestjs/swagger';
import { IsOptional } from 'class-validator';
import { MAX_PATTERN_LENGTH } from './cache-key';
import { NO_STORE, type OperationDescription } from '../http/operation.openapi';
import { Check, InsteadOfArray, integer, list, text } from '../validation/constraints';
import {
  ApiInstant,
  ApiInteger,
  ApiNumber,
  ApiPart,
  ApiText,
  ApiWord,
} from '../validation/dto-properties';
import { QueryText } from '../validation/query-coercion';

const MAX_TENANT_LENGTH = 255;
const MAX_TENANTS = 1000;
export const DEFAULT_PRELOAD_DAYS = 7;

/** Query of an invalidation. */
export class InvalidationQuery {
  @QueryText()
  @Check(text(MAX_PATTERN_LENGTH, 1))
  @ApiProperty({
    type: String,
    minLength: 1,
    maxLength: MAX_PATTERN_LENGTH,
    description:
      'Which entries: the start of their key, `*` standing for any text. Keys are ' +
      '`namespace:organizations:version:hash`. `audit_events*` means all answers about events (lists are ' +
      '`audit_events`, single events `audit_events_by_id`, counts `audit_events_counts`), `audit_events:org-1:*` the lists of one organization. A ' +
      'name without `*` means that namespace. Ids are percent-encoded in keys, as `encodeURIComponent` does it.',
  })
  pattern!: string;
}

/** Body of a warm-up. */
@InsteadOfArray('send { "organizationIds": [...] }')
export class WarmupDto {
  @IsOptional()
  @Check(list(1, MAX_TENANTS))
  @Check(text(MAX_TENANT_LENGTH, 1), { each: true })
  @ApiProperty({
    type: 'array',
    items: { type: 'string', minLength: 1, maxLength: MAX_TENANT_LENGTH },
    minItems: 1,
    maxItems: MAX_TENANTS,
    required: false,
    description:
      'For these organizations. Left out: for all that the token names; a token for all organizations means the 1000 ' +
      'that were written to last.',
    example: ['org-1'],
  })
  organizationIds?: string[];

  @IsOptional()
  @Check(integer(1, 30))
  @ApiProperty({
    type: 'integer',
    minimum: 1,
    maximum: 30,
    default: DEFAULT_PRELOAD_DAYS,
    required: false,
    description: 'How many days back readers will look.',
    example: DEFAULT_PRELOAD_DAYS,
  })
  preloadDays?: number;
}

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

const header = (description: string, example: string) => ({
  description,
  schema: { type: 'string', example },
});

const CACHED_HEADERS = {
  'X-Cache': {
    description:
      '`HIT`: kept from before, and still what the database would say (or as old as `max-stale` allowed). `MISS`: read now. `BYPASS`: read now, as the ' +
      'request or the settings wanted no kept answer.',
    schema: { type: 'string', enum: ['HIT', 'MISS', 'BYPASS'] },
  },
  ETag: header('Strong validator of exactly these bytes.', '"pZGm1Av0IEBKARczz7exkNYs"'),
  'Cache-Control': header(
    '`max-age` is how long the service keeps an answer that no event changes. `no-cache`: a client may keep it too, ' +
      'but has to ask each time whether it still holds, as it cannot know of new events.',
    'private, max-age=60, no-cache',
  ),
  Age: header('Seconds since the answer was read. Absent when it is not kept.', '12'),
  Vary: header('What else the answer depends on.', 'Authorization, Accept-Encoding'),
};

/** Parts of the description of a cached read. */
export const CACHED_READ = {
  requestHeaders: {
    'If-None-Match': {
      description: 'The `ETag` of an answer that you have: 304 without a body while it holds.',
      schema: { type: 'string' },
    },
    'Cache-Control': {
      description:
        '`no-cache`: answer from the database, and keep that. `no-store`: do not keep it either. `max-age=N`: nothing ' +
        'read longer ago. `max-stale=N`: an answer that was the present one within the last N seconds will do.',
      schema: { type: 'string', example: 'no-cache' },
    },
  },
  responseHeaders: CACHED_HEADERS,
  notModified: {
    description: 'What you have (`If-None-Match`) still holds.',
    headers: CACHED_HEADERS,
  },
};

export const SHOW_STATISTICS: OperationDescription = {
  id: 'getCacheStatistics',
  summary: 'Show how the cache does',
  description:
    'Counted by the replica that answers, since it started. A process without requests has a ratio of 0.',
  models: [CacheCountsDto],
  responses: {
    200: { description: 'The statistics.', type: CacheStatisticsDto, headers: NO_STORE },
  },
};

export const REMOVE_ENTRIES: OperationDescription = {
  id: 'invalidateCache',
  summary: 'Remove entries',
  description:
    'On every replica and in Redis. Answers are exact without it: this frees memory, or makes a measurement cold. ' +
    'Only entries wholly about organizations of your token are removed.',
  responses: { 200: { description: 'Removed.', type: CacheInvalidationDto, headers: NO_STORE } },
};

export const WARM_UP: OperationDescription = {
  id: 'warmUpCache',
  summary: 'Read ahead what readers will ask for',
  description:
    'The newest pages of each organization as far back as `preloadDays`, under the keys that readers use. Answered ' +
    'when it is done; what is not reached within 20 seconds counts as failed.',
  body: { type: WarmupDto, required: false, description: 'What to read. May be left out.' },
  responses: { 200: { description: 'Done.', type: WarmupResultDto, headers: NO_STORE } },
  errors: ['MALFORMED_JSON', 'REQUEST_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'],
};
