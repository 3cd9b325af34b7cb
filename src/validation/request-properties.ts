import { applyDecorators } from '@nestjs/common';
import { ApiProperty, type ApiPropertyOptions } from '@nestjs/swagger';
import { IsOptional } from 'class-validator';
import { Check, list, Nested, oneOf, text, type Rule } from './constraints';

/** Properties of request DTOs, validated and documented by one decorator. */

/** What a property is for, and an example; the shape comes with the decorator. */
export interface About {
  description: string;
  example?: unknown;
  /** Must be there and not null. Otherwise it may be left out or null. */
  required?: boolean;
}

/** A property with a rule: validated, and documented as `schema` says. */
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

/** One of a few words. */
export function WordProperty(words: readonly string[], about: About): PropertyDecorator {
  return Property(oneOf(words), { type: String, enum: [...words] }, about);
}

/** An object of another DTO class; it may be left out or null. */
export function NestedProperty(typeOf: () => new () => object): PropertyDecorator {
  return applyDecorators(
    IsOptional(),
    Nested(typeOf),
    ApiProperty({ type: () => typeOf(), required: false, nullable: true }),
  );
}

/** A list of texts with a rule for each, documented as `items` and `schema` say; it may be left out. */
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

/** A query parameter that may be left out. */
export function Parameter(coercion: PropertyDecorator, rule: Rule, schema: ApiPropertyOptions) {
  return applyDecorators(
    coercion,
    IsOptional(),
    Check(rule),
    ApiProperty({ required: false, ...schema } as ApiPropertyOptions),
  );
}
