import { escapeLiteral } from 'pg';
import type { ExportFormatName } from '../../streaming/export-format';
import { CSV_VALUES, EVENT_JSON, NEUTRAL_CSV_VALUES } from '../event/audit.statements';
import { arrayLiteral } from '../write/statement-values';
import { conditions, orderBy, Values, where, type PageRequest } from '../read/page-statement';

/** Which events, in which order, in which form. */
export interface ExportList extends Pick<
  PageRequest,
  'organizations' | 'filter' | 'sort' | 'after'
> {
  format: ExportFormatName;
  /** Whether cells that a spreadsheet would compute are left as they are. */
  isRawCsv: boolean;
}

/** Up to so many organizations are each read in their own order and merged; of more, planning alone takes seconds. */
const MERGED_ORGANIZATIONS = 16;

/**
 * Raw JSON lines: JSON text holds neither a line break nor these two bytes, so the CSV format of COPY has nothing to
 * quote. The text format would double every backslash.
 */
const JSON_LINES = String.raw`(FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')`;
const CSV = '(FORMAT csv)';

/**
 * The statement that copies a list out, with the settings under which PostgreSQL plans it as it is meant. For ExportTally
 * (`isTallied`) the rows of CSV begin with the organization as it is, in a cell that does not go out.
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
  return isRawCsv ? CSV_VALUES : NEUTRAL_CSV_VALUES;
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
  // PostgreSQL merges what is in order; that each part is has to be said, as parts with a WHERE are planned apart.
  const order = orderBy(list.sort, 'e');
  const each = [only ?? '', ...more].map((own) => `(SELECT * FROM ${of([own])} ORDER BY ${order})`);
  return `(${each.join(' UNION ALL ')}) e`;
}

/**
 * Where an index has the order, events come from it one by one: PostgreSQL would otherwise often find it cheaper to
 * sort everything first, which takes disk and keeps the reader waiting. Many organizations, and all of them by
 * sequence, are in no index; these are sorted, on disk beyond work_mem.
 */
function settingsOf({ organizations, sort }: ExportList): Record<string, string> {
  const isIndexed =
    organizations === '*'
      ? sort.field === 'timestamp'
      : organizations.length <= MERGED_ORGANIZATIONS;
  return { jit: 'off', ...(isIndexed ? { enable_sort: 'off' } : {}) };
}

/** COPY takes no parameters: each placeholder becomes the literal that the driver makes of its value. */
function inlined(text: string, values: readonly unknown[]): string {
  return text.replace(/\$(\d+)/g, (_, number: string) => {
    const value = values[Number(number) - 1];
    return escapeLiteral(Array.isArray(value) ? arrayLiteral(value as string[]) : String(value));
  });
}
