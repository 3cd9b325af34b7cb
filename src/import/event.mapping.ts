import { type SourceRecord, UnmappableRecord } from './record-mapping';
import { endOfString } from '../platform/runtime/lossless-json';

/** Pages and exports of the service hold these members, its write routes refuse them. */
const SERVER_MADE = new Set(['sequence', 'recordedAt']);

/**
 * A line that is an audit event already, as in an NDJSON export. Its text stays; server-made members go, and
 * `--organization` and a derived id (when it has none, or null) come in front. A member that is there twice is refused.
 */
export function mapEvent(record: SourceRecord): string {
  const members = splitMembers(record.text);
  refuseRepeated(members);
  const added: RawMember[] = [];
  const kept = members.filter(({ name, valueText }) => {
    if (name === 'organizationId') return record.organizationId === undefined;
    return !SERVER_MADE.has(name) && !(name === 'id' && valueText === 'null');
  });
  if (!kept.some(({ name }) => name === 'id')) added.push(memberOf('id', record.derivedId()));
  if (record.organizationId !== undefined) {
    added.push(memberOf('organizationId', record.organizationId));
  }
  const untouched = added.length === 0 && kept.length === members.length;
  return untouched ? record.text : joinMembers([...added, ...kept]);
}

function refuseRepeated(members: RawMember[]): void {
  const seen = new Set<string>();
  for (const { name } of members) {
    if (seen.has(name)) throw new UnmappableRecord(`${JSON.stringify(name)} is there twice`);
    seen.add(name);
  }
}

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
