import { Inject, Injectable, Logger } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { Principal } from '../../auth/principal';
import { streamingConfig } from '../../platform/config/settings';
import { formatInstant } from '../../platform/runtime/instant';
import type { ExportOutcome } from '../../streaming/exporter';
import { MAX_NAME_LENGTH } from '../event/audit-event';
import type { AuditEventFilter } from '../event/audit-event-filter';
import { AuditService, newEventOf } from '../write/audit.service';
import { type ExportList, ExportTally } from './export-statement';

const BATCH = 1000;
/** Limit beyond which only a filter's length is recorded, as metadata has a limit. */
const MAX_FILTER_CHARACTERS = 50_000;

export interface FinishedExport {
  principal: Principal;
  list: ExportList;
  requestId: string;
  outcome: ExportOutcome;
  tally: ExportTally | undefined;
}

/** Records each export, with STREAMING_SELF_AUDIT, as an event of every organization in it. */
@Injectable()
export class ExportRecorder {
  private readonly logger = new Logger(ExportRecorder.name);

  constructor(
    private readonly audit: AuditService,
    @Inject(streamingConfig.KEY) private readonly config: ConfigType<typeof streamingConfig>,
  ) {}

  /** Counts the rows of a running export; undefined when nothing is recorded. */
  tallyOf({ format }: ExportList): ExportTally | undefined {
    return this.config.selfAudit ? new ExportTally(format) : undefined;
  }

  /** Never fails: the export is over. */
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

/** The filter without the organizations, which must not see each other. */
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
