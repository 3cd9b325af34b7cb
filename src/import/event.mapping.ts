import { joinMembers, memberOf, splitMembers, type RawMember } from './raw-members';
import { UnmappableRecord, type SourceRecord } from './record-mapping';

/** Members that the service adds to an event; its pages and exports hold them, its write routes refuse them. */
const SERVER_MADE = new Set(['sequence', 'recordedAt']);

/**
 * The line is already an audit event, such as a page or an NDJSON export of this service holds. Its text is sent as
 * it is; only what must change is changed, textually: server-made members go, `--organization` and a derived id (when
 * it has none, or null) come in front. A member written twice is refused: which of the two was meant cannot be known.
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
