import { ApiProperty } from '@nestjs/swagger';
import { ERROR_TABLE } from './error-table';

/** One fault at one place of the input. */
export class FieldErrorDto {
  @ApiProperty({ type: String, example: 'events[3].action' })
  path!: string;

  @ApiProperty({ type: String, example: 'is required' })
  message!: string;
}

/** An RFC 9457 problem document: every error answer. */
export class ProblemDto {
  @ApiProperty({ type: String, example: 'urn:audit-server:error:validation-failed' })
  type!: string;

  @ApiProperty({ type: String, example: 'The request is not valid' })
  title!: string;

  @ApiProperty({ type: 'integer', example: 400 })
  status!: number;

  @ApiProperty({ type: String, example: 'limit must be a whole number from 1 to 1000' })
  detail!: string;

  @ApiProperty({ type: String, example: '/api/v1/audit/events' })
  instance!: string;

  @ApiProperty({ type: String, enum: Object.keys(ERROR_TABLE), example: 'VALIDATION_FAILED' })
  code!: string;

  @ApiProperty({ type: String, example: '7a0f3c52-9f0d-4c1e-8a53-0a7b0c6f4c1d' })
  requestId!: string;

  @ApiProperty({ type: () => [FieldErrorDto], required: false })
  errors?: FieldErrorDto[];
}
