import { applyDecorators } from '@nestjs/common';
import { ApiProperty, type ApiPropertyOptions } from '@nestjs/swagger';
import { IsOptional } from 'class-validator';
import { Check, list, Nested, oneOf, type Rule, text } from './constraints';

/** Request properties, validated and documented by one decorator. */

export interface About {
  description: string;
  example?: unknown;
  /** False allows absence and null. */
  required?: boolean;
}

/** A property validated by `rule` and documented as `schema`. */
export function Property(rule: Rule, schema: ApiPropertyOptions, about: About): PropertyDecorator {
  const { description, example, required = false } = about;
  const options = {
    ...schema,
    description,
    required,
    ...(example === undefined ? {} : { example }),
    ...(required ? {} : { nullable: true }),
  } as ApiPropertyOptions;
  return applyDecorators(...(required ? [] : [IsOptional()]), Check(rule), ApiProperty(options));
}

/** Text of at most `max` characters; a required one must not be empty. */
export function TextProperty(max: number, about: About): PropertyDecorator {
  const min = about.required ? 1 : 0;
  return Property(text(max, min), { type: String, minLength: min, maxLength: max }, about);
}

export function WordProperty(words: readonly string[], about: About): PropertyDecorator {
  return Property(oneOf(words), { type: String, enum: [...words] }, about);
}

/** An optional or null object of another DTO class. */
export function NestedProperty(typeOf: () => new () => object): PropertyDecorator {
  return applyDecorators(
    IsOptional(),
    Nested(typeOf),
    ApiProperty({ type: () => typeOf(), required: false, nullable: true }),
  );
}

/** An optional or null list of objects of another DTO class, checked by `rules` as a whole before its elements. */
export function NestedListProperty(
  typeOf: () => new () => object,
  [minItems, maxItems]: readonly [number, number],
  { description, rules = [] }: { description: string; rules?: readonly Rule[] },
): PropertyDecorator {
  return applyDecorators(
    IsOptional(),
    Check(list(minItems, maxItems)),
    ...rules.map((rule) => Check(rule)),
    Nested(typeOf, { each: true }),
    ApiProperty({
      type: () => [typeOf()],
      minItems,
      maxItems,
      required: false,
      nullable: true,
      description,
    }),
  );
}

/** An optional JSON value of any kind, checked with the object around it; null is a value. */
export function AnyJsonProperty(about: Omit<About, 'required'>): PropertyDecorator {
  return Property(anything, ANY_JSON, about);
}

const anything: Rule = () => undefined;

const ANY_JSON = {
  anyOf: [
    { type: 'object', additionalProperties: true },
    { type: 'array', items: {} },
    { type: 'string' },
    { type: 'number' },
    { type: 'boolean' },
  ],
} as ApiPropertyOptions;

/** An optional list of texts with a rule for each. */
export function ListProperty(
  [element, items]: readonly [Rule, object],
  maxItems: number,
  schema: object,
): PropertyDecorator {
  return applyDecorators(
    IsOptional(),
    Check(list(1, maxItems)),
    Check(element, { each: true }),
    ApiProperty({
      type: 'array',
      items: { type: 'string', ...items },
      minItems: 1,
      maxItems,
      required: false,
      ...schema,
    }),
  );
}

/** An optional query parameter. */
export function Parameter(coercion: PropertyDecorator, rule: Rule, schema: ApiPropertyOptions) {
  return applyDecorators(
    coercion,
    IsOptional(),
    Check(rule),
    ApiProperty({ required: false, ...schema } as ApiPropertyOptions),
  );
}

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
