import { ApiProperty } from '@nestjs/swagger';
import { IsOptional } from 'class-validator';
import { integer, list, Check, text } from '../../validation/constraints';
import { MAX_PATTERN_LENGTH } from '../cache-key';
import { QueryText } from '../../validation/query-coercion';

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
      '`namespace:organizations:epoch:hash`. `audit_events*` means all answers about events (lists are ' +
      '`audit_events`, single events `audit_events_by_id`), `audit_events:org-1:*` the lists of one organization. A ' +
      'name without `*` means that namespace. Ids are percent-encoded in keys, as `encodeURIComponent` does it.',
  })
  pattern!: string;
}

/** Body of a warm-up. */
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
