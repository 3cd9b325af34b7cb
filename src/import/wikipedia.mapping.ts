import {
  firstName,
  MAX_DESCRIPTION_LENGTH,
  requiredText,
  textOf,
  type JsonObject,
  type MappedEvent,
  type SourceRecord,
} from './record-mapping';

/**
 * Maps one record of the Wikipedia edit stream (the sample of Apache Druid's tutorial). All its edits are applied and
 * public, so status and classification are constants. A name that is too long for an id is left to `metadata`.
 */
export function mapWikipedia({ value, organizationId }: SourceRecord): MappedEvent {
  const comment = textOf(value.comment);
  return {
    timestamp: requiredText(value, 'time'),
    organizationId: organizationId ?? requiredText(value, 'channel', ': give --organization'),
    principalId: firstName(value.user),
    action: value.isNew === true ? 'page.create' : 'page.edit',
    targetResourceType: firstName(value.namespace),
    targetResourceId: firstName(value.page),
    status: 'success',
    outcomeDescription: comment && comment.length <= MAX_DESCRIPTION_LENGTH ? comment : undefined,
    dataClassification: 'PUBLIC',
    principalType: kindOf(value),
  };
}

function kindOf({ isRobot, isAnonymous }: JsonObject): string | undefined {
  if (isRobot === true) return 'bot';
  if (isAnonymous === true) return 'anonymous';
  return isAnonymous === false ? 'user' : undefined;
}
