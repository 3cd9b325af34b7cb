import { oneOf, text, type Rule } from '../../../validation/constraints';
import { ListProperty } from '../../../validation/dto-properties';
import { MAX_NAME_LENGTH } from '../../event/audit-event';
import { EVENT_FILTERS, type EventFilter, type FilterLists } from '../../event/audit-event-filter';

export const MAX_LIST_ELEMENTS = 1000;

/** Declares a list of a filter, of names unless there are `words`. */
export function AlternativesProperty(
  words: readonly string[] | undefined,
  schema: object,
): PropertyDecorator {
  const element: [Rule, object] = words
    ? [oneOf(words), { enum: [...words] }]
    : [text(MAX_NAME_LENGTH, 1), { minLength: 1, maxLength: MAX_NAME_LENGTH }];
  return ListProperty(element, MAX_LIST_ELEMENTS, schema);
}

/** DTO class with the members of `base` and a list per filter, declared by `decorate`. */
export function withFilterLists<Base extends object, Name extends 'list' | 'parameter'>(
  base: new () => Base,
  name: Name,
  decorate: (filter: EventFilter) => PropertyDecorator,
): new () => Base & FilterLists<Name> {
  class WithFilterLists extends (base as new () => object) {}
  for (const filter of EVENT_FILTERS) decorate(filter)(WithFilterLists.prototype, filter[name]);
  return WithFilterLists as new () => Base & FilterLists<Name>;
}
