import { ApiProperty } from '@nestjs/swagger';
import { ERROR_TABLE } from '../../platform/errors/error-table';

/** One violation at one place of the input. */
export class FieldErrorDto {
  @ApiProperty({
    type: String,
    description: 'The place: a member of the body, a parameter or a header; empty for the whole.',
    example: 'events[3].action',
  })
  path!: string;

  @ApiProperty({
    type: String,
    description: 'What is wrong with it, as words that follow its path.',
    example: 'is required',
  })
  message!: string;
}

/** An RFC 9457 problem document, the body of every error. */
export class ProblemDto {
  @ApiProperty({
    type: String,
    format: 'uri',
    description: 'The kind of failure as a URN.',
    example: 'urn:audit-server:error:validation-failed',
  })
  type!: string;

  @ApiProperty({
    type: String,
    description: 'The kind of failure in words.',
    example: 'The request is not valid',
  })
  title!: string;

  @ApiProperty({
    type: 'integer',
    minimum: 400,
    maximum: 599,
    description: 'The HTTP status.',
    example: 400,
  })
  status!: number;

  @ApiProperty({
    type: String,
    description: 'What went wrong this time.',
    example: 'limit must be a whole number from 1 to 1000',
  })
  detail!: string;

  @ApiProperty({
    type: String,
    description: 'The path that was asked for; empty when the request could not be read.',
    example: '/api/v1/audit/events',
  })
  instance!: string;

  @ApiProperty({
    type: String,
    enum: Object.keys(ERROR_TABLE),
    description: 'The kind of failure, for programs.',
    example: 'VALIDATION_FAILED',
  })
  code!: string;

  @ApiProperty({
    type: String,
    description: 'The same as the header `X-Request-Id`: it finds the request in the log.',
    example: '7a0f3c52-9f0d-4c1e-8a53-0a7b0c6f4c1d',
  })
  requestId!: string;

  @ApiProperty({
    type: () => [FieldErrorDto],
    required: false,
    description: 'Every place of the input that is wrong.',
  })
  errors?: FieldErrorDto[];
}
