import { ApiProperty, type ApiPropertyOptions } from '@nestjs/swagger';
import { ERROR_TABLE } from '../../platform/errors/app-error';

const Text = (description: string, example: string, schema: ApiPropertyOptions = {}) =>
  ApiProperty({ type: String, ...schema, description, example });

/** One violation in the input. */
export class FieldErrorDto {
  @Text(
    'The place: a member of the body, a parameter or a header; empty for the whole.',
    'events[3].action',
  )
  path!: string;

  @Text('What is wrong with it, as words that follow its path.', 'is required')
  message!: string;
}

/** RFC 9457 problem document, the body of every error. */
export class ProblemDto {
  @Text('The kind of failure as a URN.', 'urn:audit-server:error:validation-failed', {
    format: 'uri',
  })
  type!: string;

  @Text('The kind of failure in words.', 'The request is not valid')
  title!: string;

  @ApiProperty({
    type: 'integer',
    minimum: 400,
    maximum: 599,
    description: 'The HTTP status.',
    example: 400,
  })
  status!: number;

  @Text('What went wrong this time.', 'limit must be a whole number from 1 to 1000')
  detail!: string;

  @Text(
    'The path that was asked for; empty when the request could not be read.',
    '/api/v1/audit/events',
  )
  instance!: string;

  @Text('The kind of failure, for programs.', 'VALIDATION_FAILED', {
    enum: Object.keys(ERROR_TABLE),
  })
  code!: string;

  @Text(
    'The same as the header `X-Request-Id`: it finds the request in the log.',
    '7a0f3c52-9f0d-4c1e-8a53-0a7b0c6f4c1d',
  )
  requestId!: string;

  @ApiProperty({
    type: () => [FieldErrorDto],
    required: false,
    description: 'Every place of the input that is wrong.',
  })
  errors?: FieldErrorDto[];
}
