import { ApiProperty } from '@nestjs/swagger';
import { IsOptional } from 'class-validator';
import { Nested } from '../../../validation/constraints';
import { AuditEventFilterDto } from '../../read/dto/audit-event-search.dto';
import { TextProperty } from '../../event/dto/property-decorators';

/** A fingerprint and the numbers of a hundred organizations. */
const MAX_FEED_CURSOR_LENGTH = 4096;

/** Which recorded events to be told of, as the doors beside REST take it. */
export class AuditEventFeedDto {
  @IsOptional()
  @Nested(() => AuditEventFilterDto)
  @ApiProperty({ type: () => AuditEventFilterDto, required: false, nullable: true })
  filter?: AuditEventFilterDto | null;

  @TextProperty(MAX_FEED_CURSOR_LENGTH, {
    description: 'The id of the last event that arrived: the feed goes on behind it.',
  })
  lastEventId?: string | null;
}
