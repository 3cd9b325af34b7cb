import { applyDecorators } from '@nestjs/common';
import { ApiProperty, type ApiPropertyOptions } from '@nestjs/swagger';
import { IsOptional } from 'class-validator';
import { list, Check, oneOf, text, type Rule } from '../../../validation/constraints';
import { MAX_NAME_LENGTH } from '../audit-event';

/** Alternatives in one list of a filter. */
export const MAX_LIST_ELEMENTS = 1000;

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

function ListProperty(element: Rule, items: object, description: string): PropertyDecorator {
  return applyDecorators(
    IsOptional(),
    Check(list(1, MAX_LIST_ELEMENTS)),
    Check(element, { each: true }),
    ApiProperty({
      type: 'array',
      items: { type: 'string', ...items },
      minItems: 1,
      maxItems: MAX_LIST_ELEMENTS,
      required: false,
      nullable: true,
      description,
    }),
  );
}

/** Names and ids of which any will do. */
export function NamesProperty(description: string): PropertyDecorator {
  const schema = { minLength: 1, maxLength: MAX_NAME_LENGTH };
  return ListProperty(text(MAX_NAME_LENGTH, 1), schema, description);
}

/** Some of a few words. */
export function WordsProperty(words: readonly string[], description: string): PropertyDecorator {
  return ListProperty(oneOf(words), { enum: [...words] }, description);
}
