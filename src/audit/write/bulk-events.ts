import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { auditConfig } from '../../platform/config/audit.config';
import { validationFailed } from '../../platform/errors/app-error';
import { EventLoopYielder } from '../../platform/runtime/event-loop-yielder';
import type { NewEvent } from '../event/audit-event';
import type { CreateAuditEventDto } from '../event/dto/create-audit-event.dto';
import { newEventOf } from './new-event';

/** Events that are made ready in one turn of the event loop: about a millisecond. */
const PORTION_EVENTS = 250;

/** The events of bulk requests. */
@Injectable()
export class BulkEvents {
  constructor(
    private readonly portions: EventLoopYielder,
    @Inject(auditConfig.KEY) private readonly limits: ConfigType<typeof auditConfig>,
  ) {}

  /** What is not a list is left to the validator. @throws AppError VALIDATION_FAILED for more than BULK_MAX_EVENTS. */
  requireSize(events: unknown): void {
    const { bulkMaxEvents } = this.limits;
    if (!Array.isArray(events) || events.length <= bulkMaxEvents) return;
    const message = `must be at most ${bulkMaxEvents} elements, not ${events.length}`;
    throw validationFailed([{ path: 'events', message }]);
  }

  /**
   * Validated events, made ready to be stored; of many, some in each turn of the event loop, which everybody needs.
   * @throws the reason of the signal.
   */
  async make(dtos: readonly CreateAuditEventDto[], signal?: AbortSignal): Promise<NewEvent[]> {
    const events: NewEvent[] = [];
    for (let from = 0; from < dtos.length; from += PORTION_EVENTS) {
      for (const dto of dtos.slice(from, from + PORTION_EVENTS)) events.push(newEventOf(dto));
      if (dtos.length > PORTION_EVENTS) await this.portions.yieldIfDue(signal);
    }
    return events;
  }
}
