import { validationFailed } from '../../../platform/errors/app-error';
import { DATA_CLASSIFICATIONS } from '../audit-event';

/**
 * Members of an event by the names of other systems for them: the first that there is with at most so many characters.
 * Longer text is left to `metadata`, which has all that was sent; it is never cut.
 */
export type MemberTable = readonly (readonly [
  path: string,
  names: readonly string[],
  maxLength: number,
])[];

export interface FoundMembers {
  members: Record<string, unknown>;
  /** Names by the path of the member that has their text. */
  places: Map<string, string>;
}

/** `textOf` is undefined for a name without a text, or with an empty one. */
export function membersFrom(
  table: MemberTable,
  textOf: (name: string) => string | undefined,
): FoundMembers {
  const found: FoundMembers = { members: {}, places: new Map() };
  for (const [path, names, maxLength] of table) {
    const name = names.find((one) => {
      const text = textOf(one);
      return text !== undefined && text.length <= maxLength;
    });
    if (name === undefined) continue;
    found.places.set(path, name);
    const [member = '', inner] = path.split('.');
    const text = textOf(name);
    found.members[member] =
      inner === undefined
        ? text
        : { ...(found.members[member] as object | undefined), [inner]: text };
  }
  return found;
}

export const OUTCOMES = {
  success: 'success',
  failure: 'failure',
  attempt: 'attempt',
  unknown: 'attempt', // of ECS, as our exports have it
};

/** Words of the documented extension of CloudEvents, and ours. */
export const CLASSIFICATIONS = {
  ...Object.fromEntries(DATA_CLASSIFICATIONS.map((word) => [word.toLowerCase(), word])),
  restricted: 'CONFIDENTIAL', // the highest that is not about health
};

/**
 * Returns the meaning of a word, in upper or lower case. Unknown words are refused: an outcome or a classification that is
 * not understood must not become an ordinary one.
 * @throws AppError VALIDATION_FAILED at `name` for another word.
 */
export function meaningOf(
  name: string,
  word: string | undefined,
  meanings: Readonly<Record<string, string>>,
): string | undefined {
  const known = word?.toLowerCase();
  if (known === undefined) return undefined;
  if (Object.hasOwn(meanings, known)) return meanings[known];
  const message = `must be one of ${Object.keys(meanings).join(', ')}`;
  throw validationFailed([{ path: name, message }]);
}
