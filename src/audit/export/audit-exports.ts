import { type BeforeApplicationShutdown, Inject, Injectable, Logger } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { ServerResponse } from 'node:http';
import type { PoolClient } from 'pg';
import { type Principal, principalKey } from '../../auth/principal';
import { TokenLife } from '../../auth/token-life';
import { requestIdOf } from '../../http/request-context';
import { spansOfResponse } from '../../http/request-times';
import { streamingConfig } from '../../platform/config/settings';
import { type FieldError, validationFailed } from '../../platform/errors/app-error';
import { wallClockText } from '../../platform/runtime/clocks';
import {
  type FineInstant,
  formatFineInstant,
  formatInstant,
  parseFineInstantOrDay,
} from '../../platform/runtime/instant';
import { type CsvDelimiter, exportHeaders } from '../../streaming/export-format';
import { Exporter, type ExportOutcome, type ExportRequest } from '../../streaming/exporter';
import type { ExportCoding } from '../../streaming/response-sink';
import { MAX_NAME_LENGTH } from '../event/audit-event';
import type { AuditEventFilter, AuditEventSort } from '../event/audit-event-filter';
import type { EventFormatName } from '../event/formats/event-formats';
import { AuditPages, type CursorPosition, edgePositions } from '../read/audit-pages';
import { AuditQueries } from '../read/audit.queries';
import type { Position } from '../read/position';
import { ReadScheduler } from '../read/read-scheduler';
import { AuditService, newEventOf } from '../write/audit.service';
import { CSV_COLUMNS, type ExportList, exportStatement, ExportTally } from './export-statement';
import {
  containerOf,
  type ExportName,
  extensionOf,
  layoutErrors,
  layoutOf,
  parametersOf,
  rowWriter,
} from './export-layout';

/** Events of one transaction that records an export. */
const BATCH = 1000;
/** Limit beyond which only a filter's length is recorded, as metadata has a limit. */
const MAX_FILTER_CHARACTERS = 50_000;

export interface ExportQuery {
  filter: AuditEventFilter;
  sort?: Partial<AuditEventSort>;
  format: ExportName;
  /** The form of each event, by default `native`. */
  schema?: EventFormatName;
  coding: ExportCoding;
  chunkRows?: number;
  isRawCsv?: boolean;
  hasBom?: boolean;
  delimiter?: CsvDelimiter;
  columns?: readonly string[];
  cursor?: string;
  after?: { timestamp?: string; id?: string; recordedAt?: string; organizationId?: string };
}

interface FinishedExport {
  list: ExportList;
  requestId: string;
  outcome: ExportOutcome;
  /** By organization. */
  rows: ReadonlyMap<string, number>;
}

/** Exports over HTTP. Each is recorded, with STREAMING_SELF_AUDIT, as an event of every organization in it. */
@Injectable()
export class AuditExports implements BeforeApplicationShutdown {
  private readonly logger = new Logger(AuditExports.name);
  private readonly pending = new Set<Promise<void>>();

  constructor(
    private readonly exporter: Exporter,
    private readonly audit: AuditService,
    private readonly pages: AuditPages,
    private readonly queries: AuditQueries,
    private readonly scheduler: ReadScheduler,
    private readonly tokens: TokenLife,
    @Inject(streamingConfig.KEY) private readonly config: ConfigType<typeof streamingConfig>,
  ) {}

  /**
   * Sends the events of a query; only headers to a HEAD. The connection is closed when the token expires.
   * @throws AppError UNAUTHENTICATED (token expired before a byte was sent), VALIDATION_FAILED, INVALID_CURSOR,
   * FORBIDDEN, NOT_FOUND (switched off), TOO_MANY_REQUESTS, TIMELINE_CHANGED (it starts, by sequence, after an event
   * that is another one now).
   */
  async serve(principal: Principal, query: ExportQuery, response: ServerResponse): Promise<void> {
    this.exporter.requireEnabled();
    const release = this.exporter.acquire(principalKey(principal));
    try {
      await this.respond(principal, query, response);
    } finally {
      release();
    }
  }

  private async respond(
    principal: Principal,
    query: ExportQuery,
    response: ServerResponse,
  ): Promise<void> {
    const list = await this.parse(principal, query, response);
    const format = containerOf(list, query.hasBom ?? false);
    const { coding, chunkRows } = query;
    const isHead = response.req.method === 'HEAD';
    const headers = exportHeaders({
      format,
      coding,
      fileName: fileNameOf(list),
      hasTrailers: !isHead && response.req.httpVersion !== '1.0',
    });
    if (isHead) {
      response.writeHead(200, headers).end();
      return;
    }
    const work = this.run(principal, list, { format, coding, headers, chunkRows }, response);
    this.pending.add(work);
    await work.finally(() => this.pending.delete(work));
  }

  /** Waits for the records of exports that ended with the listener. */
  async beforeApplicationShutdown(): Promise<void> {
    await Promise.allSettled(this.pending);
  }

  private async run(
    principal: Principal,
    list: ExportList,
    request: Omit<ExportRequest, 'source' | 'onSettled' | 'signal'>,
    response: ServerResponse,
  ): Promise<void> {
    const tally = this.config.selfAudit ? new ExportTally(list) : undefined;
    const onRow = rowWriter(list.schema, tally);
    let outcome: ExportOutcome | undefined;
    const onSettled = (settled: ExportOutcome) => {
      outcome = settled;
    };
    const { signal, release } = this.tokens.signalOf(principal);
    try {
      const check = async (client: PoolClient) => {
        await this.queries.whenDurable(list.organizations);
        await this.queries.requireSameTimeline(client, list);
      };
      const source = { ...exportStatement(list, tally !== undefined), check, onRow };
      const spans = spansOfResponse(response);
      await this.exporter.serve({ ...request, source, onSettled, signal, spans }, response);
    } finally {
      release();
      if (outcome && tally) {
        const requestId = requestIdOf(response.req);
        await this.record(principal, { list, requestId, outcome, rows: tally.rows() });
      }
    }
  }

  /** Never fails: the export is over. */
  private async record(
    principal: Principal,
    { list, requestId, outcome, rows }: FinishedExport,
  ): Promise<void> {
    const events = [...rows].map(([organizationId, count]) =>
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
          ...parametersOf(list),
          rows: count,
          outcome: outcome.isComplete ? 'complete' : 'aborted',
          ...(outcome.reason === undefined ? {} : { reason: outcome.reason }),
          requestId,
        },
      }),
    );
    try {
      for (let at = 0; at < events.length; at += BATCH) {
        await this.audit.recordOwn(principal, events.slice(at, at + BATCH));
      }
    } catch (error) {
      this.logger.error(`Export ${requestId} could not be recorded as an event: ${String(error)}`);
    }
  }

  private async parse(
    principal: Principal,
    query: ExportQuery,
    response: ServerResponse,
  ): Promise<ExportList> {
    const { filter, sort, cursor } = query;
    requireSaneCombination(query);
    const { list, from } = this.pages.parse(principal, { filter, sort, cursor });
    if (from?.backward) {
      throw validationFailed([
        { path: 'cursor', message: 'must be the nextCursor or resumeCursor of a page' },
      ]);
    }
    const { after, positions } = from
      ? startOf(from, list)
      : { after: await this.positionAfter(principal, list, query, response) };
    const { format, schema, isRawCsv = false, delimiter = 'comma', columns = CSV_COLUMNS } = query;
    const layout = layoutOf(format, schema);
    // The cursor of a page whose search ended within an offset has what is left of that.
    const offset = from?.skip ?? 0;
    return { ...list, after, positions, offset, ...layout, isRawCsv, delimiter, columns };
  }

  private async positionAfter(
    principal: Principal,
    { organizations, sort }: Pick<ExportList, 'organizations' | 'sort'>,
    { after = {} }: ExportQuery,
    response: ServerResponse,
  ): Promise<Position | undefined> {
    const at = parseFineInstantOrDay(after.timestamp ?? '');
    if (at === undefined || after.id === undefined) return undefined;
    const named = { timestamp: formatInstant(at.micros), id: after.id.toLowerCase() };
    // By time the event's own position suffices, also after its removal.
    const [own] = after.organizationId ? [after.organizationId] : onlyOne(organizations);
    if (sort.field === 'timestamp' && own !== undefined) {
      return { ...named, organizationId: own, sequence: '0' };
    }
    const sought = { ...named, organizationId: after.organizationId };
    const found = await this.scheduler.readFor(principal, response, (signal) =>
      this.queries.findPositions(organizations, sought, signal),
    );
    const [only, ...others] = found;
    if (others.length > 0) {
      const message = 'is needed: several organizations have an event with this id and timestamp';
      throw validationFailed([{ path: 'after_organization_id', message }]);
    }
    // On another timeline the event may have another sequence; its recording time identifies it.
    if (only) return { ...only, recordedAt: recordedAtOf(after.recordedAt) ?? only.recordedAt };
    const message = 'is not the id of an event of this list that happened at after_timestamp';
    const isVisible = own !== undefined && (organizations === '*' || organizations.includes(own));
    if (!isVisible) throw validationFailed([{ path: 'after_id', message }]);
    // The database may have lost it.
    const head = await this.scheduler.readFor(principal, response, (signal) =>
      this.queries.findLastSequence(own, signal),
    );
    const end = `the last event of ${JSON.stringify(own)} is ${head}`;
    throw validationFailed([{ path: 'after_id', message: `${message} (${end})` }]);
  }
}

function startOf(
  { edge }: CursorPosition,
  list: Pick<ExportList, 'organizations' | 'filter' | 'sort'>,
): Pick<ExportList, 'after' | 'positions'> {
  return typeof edge === 'string' ? { positions: edgePositions(edge, list) } : { after: edge };
}

function recordedAtOf(text: string | undefined): string | undefined {
  const at = parseFineInstantOrDay(text ?? '');
  return at && formatInstant(at.micros);
}

function onlyOne(organizations: readonly string[] | '*'): readonly string[] {
  return organizations !== '*' && organizations.length === 1 ? organizations : [];
}

function requireSaneCombination({ cursor, after = {}, format, ...query }: ExportQuery): void {
  const errors: FieldError[] = layoutErrors(format, query.schema);
  const refuse = (path: string, message: string) => errors.push({ path, message });
  if ((after.timestamp === undefined) !== (after.id === undefined)) {
    const [missing, given] = after.id === undefined ? ['id', 'timestamp'] : ['timestamp', 'id'];
    refuse(`after_${missing}`, `is required with after_${given}`);
  }
  if (after.organizationId !== undefined && after.id === undefined) {
    refuse('after_organization_id', 'goes with after_timestamp and after_id');
  }
  if (after.recordedAt !== undefined && after.id === undefined) {
    refuse('after_recorded_at', 'goes with after_timestamp and after_id');
  }
  if (cursor !== undefined && (after.timestamp ?? after.id) !== undefined) {
    refuse('cursor', 'cannot be combined with after_timestamp and after_id');
  }
  if (format !== 'csv') {
    if (query.isRawCsv !== undefined) refuse('csv_raw', 'is only for format=csv');
    if (query.hasBom !== undefined) refuse('bom', 'is only for format=csv');
    if (query.delimiter !== undefined) refuse('delimiter', 'is only for format=csv');
    if (query.columns !== undefined) refuse('columns', 'is only for format=csv');
  }
  const repeated = query.columns?.find((name, index, all) => all.indexOf(name) !== index);
  if (repeated !== undefined) refuse('columns', `must name a column once, not ${repeated} twice`);
  if (errors.length > 0) throw validationFailed(errors);
}

/** `audit-events_2026-11-01_2026-12-01_at-20261125T021500Z.csv`: range, time, format. */
function fileNameOf({ filter, ...layout }: ExportList): string {
  const text = (at: FineInstant | undefined, none: string) =>
    at === undefined ? none : formatFineInstant(at).replace(/T00:00:00\.000000Z$|\.\d+Z$/, '');
  const range =
    filter.startDate === undefined && filter.endDate === undefined
      ? 'all'
      : `${text(filter.startDate, 'start')}_${text(filter.endDate, 'now')}`;
  const now = wallClockText().replace(/[-:]|\.\d+/g, '');
  return `audit-events_${range.replaceAll(':', '')}_at-${now}.${extensionOf(layout)}`;
}

/** The filter without the organizations, which must not see each other. */
function filterWithoutTenants({ startDate, endDate, ...lists }: AuditEventFilter): object {
  const recorded = {
    startDate: startDate && formatFineInstant(startDate),
    endDate: endDate && formatFineInstant(endDate),
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
