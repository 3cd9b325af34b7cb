import { type SourceRecord, UnmappableRecord } from './record-mapping';
import {
  joinMembers,
  type JsonMember,
  memberOf,
  membersOf,
} from '../platform/runtime/json-members';

/** Pages and exports of the service hold these members, its write routes refuse them. */
const SERVER_MADE = new Set(['sequence', 'recordedAt']);

/**
 * A line that is an audit event already, as in an NDJSON export. Its text stays; server-made members go, and
 * `--organization` and a derived id (when it has none, or null) come in front. A member that is there twice is refused.
 */
export function mapEvent(record: SourceRecord): string {
  const members = [...membersOf(record.text)];
  refuseRepeated(members);
  const added: JsonMember[] = [];
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

function refuseRepeated(members: JsonMember[]): void {
  const seen = new Set<string>();
  for (const { name } of members) {
    if (seen.has(name)) throw new UnmappableRecord(`${JSON.stringify(name)} is there twice`);
    seen.add(name);
  }
}
