import { endOfString } from '../platform/runtime/lossless-json';

export interface RawMember {
  /** With its escapes resolved: `"\u0069d"` is `id`. */
  name: string;
  /** As written, with its quotes. */
  nameText: string;
  /** As written. */
  valueText: string;
}

const QUOTE = 0x22;

/** The top-level members of a valid JSON object, in order; nested values stay one untouched slice. */
export function splitMembers(objectText: string): RawMember[] {
  const members: RawMember[] = [];
  let at = skipBlanks(objectText, objectText.indexOf('{') + 1);
  while (objectText[at] === '"') {
    const nameEnd = endOfString(objectText, at);
    const nameText = objectText.slice(at, nameEnd);
    const valueStart = skipBlanks(objectText, skipBlanks(objectText, nameEnd) + 1);
    const valueEnd = endOfValue(objectText, valueStart);
    members.push({
      name: JSON.parse(nameText) as string,
      nameText,
      valueText: objectText.slice(valueStart, valueEnd).trimEnd(),
    });
    at = objectText[valueEnd] === ',' ? skipBlanks(objectText, valueEnd + 1) : objectText.length;
  }
  return members;
}

export function joinMembers(members: RawMember[]): string {
  return `{${members.map((member) => `${member.nameText}:${member.valueText}`).join(',')}}`;
}

export function memberOf(name: string, value: string): RawMember {
  return { name, nameText: JSON.stringify(name), valueText: JSON.stringify(value) };
}

function skipBlanks(text: string, from: number): number {
  let at = from;
  while (at < text.length && text.charCodeAt(at) <= 0x20) at += 1;
  return at;
}

/** The position of the comma or brace after the value that begins at `from`. */
function endOfValue(text: string, from: number): number {
  let depth = 0;
  let at = from;
  while (at < text.length) {
    const character = text[at];
    if (text.charCodeAt(at) === QUOTE) {
      at = endOfString(text, at);
      continue;
    }
    if (depth === 0 && (character === ',' || character === '}')) return at;
    if (character === '{' || character === '[') depth += 1;
    if (character === '}' || character === ']') depth -= 1;
    at += 1;
  }
  return at;
}
