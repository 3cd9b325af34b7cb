import { ApiProperty } from '@nestjs/swagger';

/** What became of a line of NDJSON that is stored. */
export class StoredLineDto {
  @ApiProperty({
    type: 'integer',
    minimum: 1,
    example: 1,
    description: 'Counted from 1; blank lines count too.',
  })
  line!: number;

  @ApiProperty({ type: String, format: 'uuid', example: '019ab1c2-3e4a-7000-8000-1234567890ab' })
  id!: string;

  @ApiProperty({ type: String, pattern: '^[1-9][0-9]*$', example: '1042' })
  sequence!: string;

  @ApiProperty({ type: String, enum: ['created', 'duplicate'], example: 'created' })
  status!: string;
}

/** A fault of a line, at its place in the event. */
export class LineFaultDto {
  @ApiProperty({ type: String, example: 'status' })
  path!: string;

  @ApiProperty({ type: String, example: 'must be one of attempt, success, failure' })
  message!: string;
}

/** What became of a line of NDJSON that is not stored. */
export class RejectedLineDto {
  @ApiProperty({ type: 'integer', minimum: 1, example: 2 })
  line!: number;

  @ApiProperty({ type: String, enum: ['rejected'], example: 'rejected' })
  status!: string;

  @ApiProperty({
    type: String,
    example: 'VALIDATION_FAILED',
    description:
      '`TRANSACTION_REJECTED`: the line is good, but another one of its transaction is not.',
  })
  code!: string;

  @ApiProperty({ type: () => [LineFaultDto] })
  errors!: LineFaultDto[];
}

/** How many lines became what. */
export class IngestCountsDto {
  @ApiProperty({ type: 'integer', minimum: 0, example: 1 })
  created!: number;

  @ApiProperty({ type: 'integer', minimum: 0, example: 0 })
  duplicates!: number;

  @ApiProperty({ type: 'integer', minimum: 0, example: 1 })
  rejected!: number;
}

/** The last line of an answer to NDJSON. */
export class IngestSummaryDto {
  @ApiProperty({ type: () => IngestCountsDto })
  summary!: IngestCountsDto;
}
