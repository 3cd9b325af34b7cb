import { membersOf } from '../platform/runtime/json-members';
import { mapEvent } from './event.mapping';
import { type RecordMapping, UnmappableRecord } from './record-mapping';

/**
 * The event that an export in another schema carries to the letter in `member`: `unmapped` of OCSF, `data` of
 * CloudEvents.
 */
export function mapWrappedEvent(member: string): RecordMapping {
  return (record) => {
    const found = [...membersOf(record.text)].filter(({ name }) => name === member);
    const [only, ...others] = found;
    if (only === undefined || others.length > 0 || !only.valueText.startsWith('{')) {
      throw new UnmappableRecord(
        `${JSON.stringify(member)} must be there once, an event of an export of this service`,
      );
    }
    return mapEvent({ ...record, text: only.valueText });
  };
}
