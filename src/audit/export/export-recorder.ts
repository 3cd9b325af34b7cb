import { Inject, Injectable, Logger } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { Principal } from '../../auth/principal';
import { streamingConfig } from '../../platform/config/streaming.config';
import { formatInstant } from '../../platform/runtime/instant';
import type { ExportOutcome } from '../../streaming/exporter';
import { MAX_NAME_LENGTH } from '../event/audit-event';
import type { AuditEventFilter } from '../event/audit-event-filter';
import { AuditService } from '../write/audit.service';
import { type ExportList, ExportTally } from './export-statement';
import { newEventOf } from '../write/new-events';

/** Events of one transaction. */
const BATCH = 1000;
/** Of a longer filter only its length is recorded: metadata has a limit. */
const MAX_FILTER_CHARACTERS = 50_000;

export interface FinishedExport {
  principal: Principal;
  list: ExportList;
  requestId: string;
  outcome: ExportOutcome;
  tally: ExportTally | undefined;
}

/** With STREAMING_SELF_AUDIT, records each export as an event of every organization with events in it. */
@Injectable()
export class ExportRecorder {
  private readonly logger = new Logger(ExportRecorder.name);

  constructor(
    private readonly audit: AuditService,
    @Inject(streamingConfig.KEY) private readonly config: ConfigType<typeof streamingConfig>,
  ) {}

  /** Counts the rows of an export while it runs; undefined when nothing is recorded. */
  tallyOf({ format }: ExportList): ExportTally | undefined {
    return this.config.selfAudit ? new ExportTally(format) : undefined;
  }

  /** Records an export. Never fails: the export is over, and its reader has no part in a failure. */
  async record({ principal, list, requestId, outcome, tally }: FinishedExport): Promise<void> {
    if (!tally) return;
    const events = [...tally.rows()].map(([organizationId, rows]) =>
      newEventOf({
        organizationId,
        action: 'audit.export',
        status: outcome.isComplete ? 'success' : 'failure',
        principalId: principalIdOf(principal.subject),
        targetResourceType: 'AuditEvent',
        correlationId: requestId,
        metadata: {
          filter: filterWithoutTenants(list.filter),
          sort: list.sort,
          format: list.format,
          rows,
          outcome: outcome.isComplete ? 'complete' : 'aborted',
          ...(outcome.reason === undefined ? {} : { reason: outcome.reason }),
          requestId,
        },
      }),
    );
    try {
      for (let at = 0; at < events.length; at += BATCH) {
        await this.audit.recordAll(principal, events.slice(at, at + BATCH));
      }
    } catch (error) {
      this.logger.error(`Export ${requestId} could not be recorded as an event: ${String(error)}`);
    }
  }
}

/** The filter without the organizations, which are of no concern to each other. */
function filterWithoutTenants({ startDate, endDate, ...lists }: AuditEventFilter): object {
  const recorded = {
    startDate: startDate === undefined ? undefined : formatInstant(startDate),
    endDate: endDate === undefined ? undefined : formatInstant(endDate),
    ...lists,
    organizationIds: undefined,
  };
  const text = JSON.stringify(recorded);
  return text.length > MAX_FILTER_CHARACTERS
    ? { omitted: `${text.length} characters` }
    : (JSON.parse(text) as object);
}

function principalIdOf(subject: string): string {
  return [...subject.toWellFormed().replaceAll('\0', '\ufffd')].slice(0, MAX_NAME_LENGTH).join('');
}
