import { escapeLiteral } from 'pg';
import {
  CSV_DELIMITERS,
  type CsvDelimiter,
  type ExportFormatName,
} from '../../streaming/export-format';
import { EVENT_FIELDS } from '../event/audit-event';
import type { EventFormatName } from '../event/formats/event-formats';
import { arrayLiteral, EVENT_JSON } from '../event/audit.statements';
import {
  conditions,
  orderBy,
  organizationsSource,
  ownConditions,
  type PageRequest,
  where,
} from '../read/page-statement';
import { Values } from '../read/values';
import { csvCell } from './csv-cells';

export interface ExportList extends Pick<
  PageRequest,
  'organizations' | 'filter' | 'sort' | 'after' | 'positions' | 'offset'
> {
  format: ExportFormatName;
  /** The form of each event; of CSV always `native`. */
  schema: EventFormatName;
  isRawCsv: boolean;
  delimiter: CsvDelimiter;
  /** Columns of CSV, in this order. */
  columns: readonly string[];
}

/** Limit of organizations that are read in order and merged; of more, planning alone takes seconds. */
const MERGED_ORGANIZATIONS = 16;

/** JSON text has neither a line break nor these bytes: CSV quotes nothing. The text format doubles every backslash. */
const JSON_LINES = String.raw`(FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')`;

/**
 * The COPY statement of a list. For ExportTally (`isTallied`) CSV rows begin with the organization, which is not sent.
 */
export function exportStatement(
  list: ExportList,
  isTallied = false,
): {
  statement: string;
  settings: Record<string, string>;
} {
  const values = new Values();
  const own = isTallied && list.format === 'csv' ? 'e.organization_id, ' : '';
  const skipping = list.offset > 0 ? ` OFFSET ${values.bind(list.offset, 'bigint')}` : '';
  const query = `SELECT ${own}${projectionOf(list)} FROM ${rowsOf(list, values)} ORDER BY ${orderBy(list.sort, 'e')}${skipping}`;
  const delimiter = escapeLiteral(CSV_DELIMITERS[list.delimiter]);
  const options = list.format === 'csv' ? `(FORMAT csv, DELIMITER ${delimiter})` : JSON_LINES;
  return {
    statement: `COPY (${inlined(query, values.list)}) TO STDOUT WITH ${options}`,
    settings: settingsOf(list),
  };
}

function projectionOf(list: ExportList): string {
  if (list.format !== 'csv') return EVENT_JSON;
  const fields = list.columns.map((name) => EVENT_FIELDS.find((field) => field.name === name));
  return fields.flatMap((field) => (field ? [csvCell(field, list)] : [])).join(', ');
}

export const CSV_COLUMNS: readonly string[] = EVENT_FIELDS.map(({ name }) => name);

function rowsOf(list: ExportList, values: Values): string {
  const { organizations } = list;
  const others = conditions(list, values);
  const of = (own: string[]) => `audit_event e ${where([...own, ...others])}`;
  if (organizations === '*') return of([]);
  if (organizations.length === 0 || organizations.length > MERGED_ORGANIZATIONS) {
    const own = `e.organization_id = ANY(${values.bind(organizations, 'text[]')})`;
    if (!list.positions) return of([own]);
    const bounds = organizationsSource(organizations, list, values);
    const joined = where([own, ...bounds.conditions, ...others]);
    return `(SELECT e.* FROM audit_event e CROSS JOIN ${bounds.source} ${joined}) e`;
  }
  const [only, ...more] = organizations.map((id) => ownConditions(id, list, values));
  if (only !== undefined && more.length === 0) return of(only);
  // PostgreSQL merges ordered parts only if each has its ORDER BY: parts with a WHERE are planned apart.
  const order = orderBy(list.sort, 'e');
  const each = [only ?? [], ...more].map((own) => `(SELECT * FROM ${of(own)} ORDER BY ${order})`);
  return `(${each.join(' UNION ALL ')}) e`;
}

/**
 * Forces index order where it exists: PostgreSQL often sorts first, on disk, which delays the first byte. Many
 * organizations, and all of them by sequence, have no index and are sorted, on disk beyond work_mem.
 */
function settingsOf({ organizations, sort }: ExportList): Record<string, string> {
  const isIndexed =
    organizations === '*'
      ? sort.field === 'timestamp'
      : organizations.length <= MERGED_ORGANIZATIONS;
  return { jit: 'off', ...(isIndexed ? { enable_sort: 'off' } : {}) };
}

/** COPY takes no parameters. */
function inlined(text: string, values: readonly unknown[]): string {
  return text.replace(/\$(\d+)/g, (_, number: string) => {
    const value = values[Number(number) - 1];
    return escapeLiteral(Array.isArray(value) ? arrayLiteral(value as string[]) : String(value));
  });
}

const MEMBER = Buffer.from(',"organizationId":');
const NEXT_MEMBER = Buffer.from(',"principalId":');
const QUOTE = 0x22;

/** Counts the rows of an export by organization. */
export class ExportTally {
  /** Keyed by the organization's bytes: the rate of rows allows one lookup. */
  private readonly counts = new Map<string, number>();

  private readonly format: ExportFormatName;
  private readonly delimiter: number;

  constructor({ format, delimiter }: Pick<ExportList, 'format' | 'delimiter'>) {
    this.format = format;
    this.delimiter = CSV_DELIMITERS[delimiter].charCodeAt(0);
  }

  /** Counts a row of a statement with `isTallied`, and returns the part to send. */
  take(row: Buffer): Buffer {
    const isCsv = this.format === 'csv';
    const end = isCsv ? endOfFirstCell(row, this.delimiter) : 0;
    const spelling = isCsv ? row.toString('latin1', 0, end) : jsonMember(row);
    this.counts.set(spelling, (this.counts.get(spelling) ?? 0) + 1);
    return isCsv ? row.subarray(end + 1) : row;
  }

  rows(): Map<string, number> {
    return new Map(
      [...this.counts].map(([spelling, count]) => {
        const text = Buffer.from(spelling, 'latin1').toString();
        return [this.format === 'csv' ? cellText(text) : (JSON.parse(text) as string), count];
      }),
    );
  }
}

function jsonMember(row: Buffer): string {
  const start = row.indexOf(MEMBER) + MEMBER.length;
  return row.toString('latin1', start, row.indexOf(NEXT_MEMBER, start));
}

function endOfFirstCell(row: Buffer, delimiter: number): number {
  if (row[0] !== QUOTE) return row.indexOf(delimiter);
  let end = 1;
  while (row[end] !== QUOTE || row[end + 1] === QUOTE) end += row[end] === QUOTE ? 2 : 1;
  return end + 1;
}

function cellText(cell: string): string {
  return cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell;
}
