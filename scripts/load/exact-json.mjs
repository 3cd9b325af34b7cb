// JSON whose numbers keep their digits, and the first difference between two such values. Pure.

/** Marks a number: the NUL character cannot be in a text of an event. */
const NUMBER = '\u0000';
/** Texts and numbers. A number before a colon is no name of a member: it stays, and is refused. */
const TOKEN = /"(?:[^"\\]|\\.)*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?!\s*:)/g;

/** A number of these digits, as parseExact returns it. */
export function exactNumber(digits) {
  return NUMBER + digits;
}

/** The value of a JSON text, with numbers as exactNumber. @throws SyntaxError */
export function parseExact(text) {
  return JSON.parse(
    text.replace(TOKEN, (token) => (token[0] === '"' ? token : `"\\u0000${token}"`)),
  );
}

/** The text of a value that may hold numbers of exactNumber. */
export function exactText(value) {
  return JSON.stringify(value).replace(/"\\u0000([^"]*)"/g, '$1');
}

/**
 * Path and values of the first difference, as one line; undefined if all members of `expected` are equal in `received`. An
 * object within must also have no further members; `received` itself may.
 */
export function differenceOf(expected, received, path = '') {
  for (const [name, value] of Object.entries(expected)) {
    const found = valueDifference(value, received?.[name], path === '' ? name : `${path}.${name}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

function valueDifference(expected, received, path) {
  if (expected === received) return undefined;
  const isObject = (value) => typeof value === 'object' && value !== null;
  if (!isObject(expected) || !isObject(received)) {
    return `${path} is ${shown(received)}, and ${shown(expected)} was expected`;
  }
  const unexpected = Object.keys(received).find((name) => !(name in expected));
  if (unexpected !== undefined) return `${path}.${unexpected} was not expected`;
  return differenceOf(expected, received, path);
}

function shown(value) {
  return value === undefined ? 'absent' : exactText(value);
}
