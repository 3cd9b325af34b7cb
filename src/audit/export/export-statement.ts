import { escapeLiteral } from 'pg';
import type { ExportFormatName } from '../../streaming/export-format';
import { EVENT_JSON, instantText } from '../event/audit.statements';
import { EVENT_FIELDS, type EventField } from '../event/event-fields';
import { arrayLiteral } from '../write/statement-values';
import { conditions, orderBy, Values, where, type PageRequest } from '../read/page-statement';

export interface ExportList extends Pick<
  PageRequest,
  'organizations' | 'filter' | 'sort' | 'after'
> {
  format: ExportFormatName;
  /** Whether cells that a spreadsheet would compute stay as they are. */
  isRawCsv: boolean;
}

/** Up to so many organizations are each read in their own order and merged; of more, planning alone takes seconds. */
const MERGED_ORGANIZATIONS = 16;

/**
 * JSON text holds neither a line break nor these two bytes, so the CSV format of COPY has nothing to quote. The text
 * format would double every backslash.
 */
const JSON_LINES = String.raw`(FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')`;
const CSV = '(FORMAT csv)';

/**
 * The statement that copies a list out, with its settings for the planner. For ExportTally (`isTallied`) CSV rows begin
 * with the organization in a cell that is not sent.
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
  const query = `SELECT ${own}${projectionOf(list)} FROM ${rowsOf(list, values)} ORDER BY ${orderBy(list.sort, 'e')}`;
  const options = list.format === 'csv' ? CSV : JSON_LINES;
  return {
    statement: `COPY (${inlined(query, values.list)}) TO STDOUT WITH ${options}`,
    settings: settingsOf(list),
  };
}

function projectionOf({ format, isRawCsv }: ExportList): string {
  if (format !== 'csv') return EVENT_JSON;
  return EVENT_FIELDS.map((field) => csvCell(field, isRawCsv)).join(', ');
}

/** = + - @, tab, carriage return, line feed, and the full-width = + - @ that some spreadsheets take for the same. */
const FORMULA_STARTS = [61, 43, 45, 64, 9, 13, 10, 0xff1d, 0xff0b, 0xff0d, 0xff20].join(', ');

/**
 * A cell that a spreadsheet would take for a formula gets an apostrophe in front (OWASP, CSV injection). In UTF-8,
 * ascii() is the code point of the first character.
 */
function neutralized(cell: string): string {
  return `CASE WHEN ascii(${cell}) IN (${FORMULA_STARTS}) THEN '''' || ${cell} ELSE ${cell} END`;
}

export const CSV_COLUMNS: readonly string[] = EVENT_FIELDS.map(({ name }) => name);

function csvCell({ column, type, words }: EventField, isRaw: boolean): string {
  const cell = `e.${column}`;
  if (type === 'timestamptz') return instantText(cell);
  return isRaw || type !== 'text' || words ? cell : neutralized(cell); // JSON objects begin with {
}

function rowsOf(list: ExportList, values: Values): string {
  const { organizations } = list;
  const others = conditions(list, values);
  const of = (own: string[]) => `audit_event e ${where([...own, ...others])}`;
  if (organizations === '*') return of([]);
  if (organizations.length === 0 || organizations.length > MERGED_ORGANIZATIONS) {
    return of([`e.organization_id = ANY(${values.bind(organizations, 'text[]')})`]);
  }
  const [only, ...more] = organizations.map(
    (id) => `e.organization_id = ${values.bind(id, 'text')}`,
  );
  if (only !== undefined && more.length === 0) return of([only]);
  // PostgreSQL merges ordered parts only if each says its order, as parts with a WHERE are planned apart.
  const order = orderBy(list.sort, 'e');
  const each = [only ?? '', ...more].map((own) => `(SELECT * FROM ${of([own])} ORDER BY ${order})`);
  return `(${each.join(' UNION ALL ')}) e`;
}

/**
 * Where an index has the order, events have to come from it: PostgreSQL would often find it cheaper to sort everything
 * first, which takes disk and keeps the reader waiting. Many organizations, and all of them by sequence, have no index;
 * they are sorted, on disk beyond work_mem.
 */
function settingsOf({ organizations, sort }: ExportList): Record<string, string> {
  const isIndexed =
    organizations === '*'
      ? sort.field === 'timestamp'
      : organizations.length <= MERGED_ORGANIZATIONS;
  return { jit: 'off', ...(isIndexed ? { enable_sort: 'off' } : {}) };
}

/** COPY takes no parameters: each placeholder becomes the literal of its value. */
function inlined(text: string, values: readonly unknown[]): string {
  return text.replace(/\$(\d+)/g, (_, number: string) => {
    const value = values[Number(number) - 1];
    return escapeLiteral(Array.isArray(value) ? arrayLiteral(value as string[]) : String(value));
  });
}

const MEMBER = Buffer.from(',"organizationId":');
const NEXT_MEMBER = Buffer.from(',"principalId":');
const [COMMA, QUOTE] = [0x2c, 0x22];

/** Counts the rows of an export by organization. */
export class ExportTally {
  /** By the bytes that spell the organization: a lookup is all that the rate of rows allows. */
  private readonly counts = new Map<string, number>();

  constructor(private readonly format: ExportFormatName) {}

  /** Counts a row of a statement with `isTallied`, and returns the part that is sent. */
  take(row: Buffer): Buffer {
    const isCsv = this.format === 'csv';
    const end = isCsv ? endOfFirstCell(row) : 0;
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

function endOfFirstCell(row: Buffer): number {
  if (row[0] !== QUOTE) return row.indexOf(COMMA);
  let end = 1;
  while (row[end] !== QUOTE || row[end + 1] === QUOTE) end += row[end] === QUOTE ? 2 : 1;
  return end + 1;
}

function cellText(cell: string): string {
  return cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell;
}
