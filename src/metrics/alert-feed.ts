import { Injectable } from '@nestjs/common';
import { AlertState } from './alert-state';
import type { PerformanceAlertDto } from './dto/responses.dto';
import { valuesOf } from './values-of';

/** Alerts of this replica for subscribers, as they are raised and, with `resolvedAt`, as they end. */
@Injectable()
export class AlertFeed {
  constructor(private readonly board: AlertState) {}

  /** From this call on, until the signal aborts. @throws AppError SLOW_CONSUMER. */
  follow(signal: AbortSignal): AsyncGenerator<PerformanceAlertDto> {
    return valuesOf(this.board.changes(), signal);
  }
}
