import { ApiProperty } from '@nestjs/swagger';

/** Properties of response DTOs: an example, and a description where the name is not enough. */

type Dto = new () => object;

interface More {
  required?: boolean;
  nullable?: boolean;
  minimum?: number;
  pattern?: string;
}

function property(
  shape: object,
  example: unknown,
  description?: string,
  more?: More,
): PropertyDecorator {
  return ApiProperty({
    ...shape,
    ...more,
    ...(example === undefined ? {} : { example }),
    ...(description === undefined ? {} : { description }),
  });
}

export const ApiInteger = (example: number, description?: string, more?: More) =>
  property({ type: 'integer' }, example, description, more);

export const ApiNumber = (example: number, description?: string, more?: More) =>
  property({ type: Number }, example, description, more);

export const ApiBoolean = (example: boolean, description?: string, more?: More) =>
  property({ type: Boolean }, example, description, more);

export const ApiText = (example: string, description?: string, more?: More) =>
  property({ type: String }, example, description, more);

export const ApiTexts = (example: string[], description?: string) =>
  property({ type: [String] }, example, description);

export const ApiWord = (words: readonly string[], example: string, description?: string) =>
  property({ type: String, enum: [...words] }, example, description);

export const ApiUuid = (example: string, description?: string) =>
  property({ type: String, format: 'uuid' }, example, description);

/** An ISO 8601 instant in UTC; the default example has the milliseconds of `wallClockText`. */
export const ApiInstant = (
  description?: string,
  { example = '2026-11-23T10:30:00.123Z', ...more }: More & { example?: string } = {},
) => property({ type: String, format: 'date-time' }, example, description, more);

/** An object with any members. */
export const ApiObject = (example: object, description?: string, more?: More) =>
  property({ type: 'object', additionalProperties: true }, example, description, more);

export const ApiPart = (typeOf: () => Dto, description?: string, more?: More) =>
  property({ type: () => typeOf() }, undefined, description, more);

export const ApiParts = (typeOf: () => Dto, description?: string, more?: More) =>
  property({ type: () => [typeOf()] }, undefined, description, more);
