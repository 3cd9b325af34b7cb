import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { auditConfig } from '../../platform/config/settings';
import { validationFailed } from '../../platform/errors/app-error';
import { EventLoopYielder } from '../../platform/runtime/event-loop-yielder';
import { formatInstant, parseInstant } from '../../platform/runtime/instant';
import { exactJsonText } from '../../platform/runtime/lossless-json';
import type { NewEvent } from '../event/audit-event';
import type { CreateAuditEventDto } from '../event/dto/create-audit-event.dto';
import { eventMicros, uuid7 } from '../event/uuid7';

/** Events per turn of the event loop: about a millisecond. */
const PORTION_EVENTS = 250;

/** Completes a validated event: id, timestamp and defaults, JSON as minified text. */
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

/** The events of bulk requests. */
@Injectable()
export class BulkEvents {
  constructor(
    private readonly yielder: EventLoopYielder,
    @Inject(auditConfig.KEY) private readonly limits: ConfigType<typeof auditConfig>,
  ) {}

  /** Leaves non-lists to the validator. @throws AppError VALIDATION_FAILED for more than BULK_MAX_EVENTS. */
  requireSize(events: unknown): void {
    const { bulkMaxEvents } = this.limits;
    if (!Array.isArray(events) || events.length <= bulkMaxEvents) return;
    const message = `must be at most ${bulkMaxEvents} elements, not ${events.length}`;
    throw validationFailed([{ path: 'events', message }]);
  }

  /** Completes validated events in portions: the event loop serves others between. @throws the reason of the signal. */
  async make(dtos: readonly CreateAuditEventDto[], signal?: AbortSignal): Promise<NewEvent[]> {
    const events: NewEvent[] = [];
    for (let from = 0; from < dtos.length; from += PORTION_EVENTS) {
      for (const dto of dtos.slice(from, from + PORTION_EVENTS)) events.push(newEventOf(dto));
      if (dtos.length > PORTION_EVENTS) await this.yielder.yieldIfDue(signal);
    }
    return events;
  }
}
