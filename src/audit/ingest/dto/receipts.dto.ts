import {
  ApiInteger,
  ApiPart,
  ApiParts,
  ApiText,
  ApiUuid,
  ApiWord,
} from '../../../validation/dto-properties';

export class StoredLineDto {
  @ApiInteger(1, 'Counted from 1; blank lines count too.', { minimum: 1 })
  line!: number;

  @ApiUuid('019ab1c2-3e4a-7000-8000-1234567890ab')
  id!: string;

  @ApiText('1042', undefined, { pattern: '^[1-9][0-9]*$' })
  sequence!: string;

  @ApiWord(['created', 'duplicate'], 'created')
  status!: string;
}

/** A violation, at its path in the event. */
export class LineFaultDto {
  @ApiText('status')
  path!: string;

  @ApiText('must be one of attempt, success, failure')
  message!: string;
}

export class RejectedLineDto {
  @ApiInteger(2, undefined, { minimum: 1 })
  line!: number;

  @ApiWord(['rejected'], 'rejected')
  status!: string;

  @ApiText(
    'VALIDATION_FAILED',
    '`TRANSACTION_REJECTED`: the line is good, but another one of its transaction is not.',
  )
  code!: string;

  @ApiParts(() => LineFaultDto)
  errors!: LineFaultDto[];
}

export class IngestCountsDto {
  @ApiInteger(1, undefined, { minimum: 0 })
  created!: number;

  @ApiInteger(0, undefined, { minimum: 0 })
  duplicates!: number;

  @ApiInteger(1, undefined, { minimum: 0 })
  rejected!: number;
}

/** The last line of a response to NDJSON. */
export class IngestSummaryDto {
  @ApiPart(() => IngestCountsDto)
  summary!: IngestCountsDto;
}
