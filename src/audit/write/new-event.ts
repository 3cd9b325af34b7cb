import { formatInstant, parseInstant } from '../../platform/runtime/instant';
import { exactJsonText } from '../../platform/runtime/lossless-json';
import type { NewEvent } from '../event/audit-event';
import type { CreateAuditEventDto } from '../event/dto/create-audit-event.dto';
import { eventMicros, uuid7 } from '../event/uuid7';

/** A validated event made ready to be stored: with id, timestamp and defaults, JSON as minified text. */
export function newEventOf(dto: CreateAuditEventDto): NewEvent {
  const given = typeof dto.timestamp === 'string' ? parseInstant(dto.timestamp) : undefined;
  const micros = given ?? eventMicros();
  return {
    id: dto.id?.toLowerCase() ?? uuid7(micros),
    hasClientId: typeof dto.id === 'string',
    timestamp: formatInstant(micros),
    hasClientTimestamp: given !== undefined,
    organizationId: dto.organizationId,
    principalId: dto.principalId ?? null,
    action: dto.action,
    targetResourceType: dto.targetResourceType ?? null,
    targetResourceId: dto.targetResourceId ?? null,
    status: dto.status,
    outcomeDescription: dto.outcomeDescription ?? null,
    dataClassification: dto.dataClassification ?? 'INTERNAL',
    correlationId: dto.correlationId ?? null,
    sessionContext: dto.sessionContext ? exactJsonText(dto.sessionContext) : null,
    metadata: dto.metadata ? exactJsonText(dto.metadata) : null,
  };
}
