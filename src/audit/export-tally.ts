import type { ExportFormatName } from '../streaming/export-format';

const MEMBER = Buffer.from(',"organizationId":');
const NEXT_MEMBER = Buffer.from(',"principalId":');
/** The columns before the organization's hold neither commas nor quotes. */
const COLUMNS_BEFORE = 4;
const [COMMA, QUOTE] = [0x2c, 0x22];

/** Counts the rows of an export by organization, as they pass: it stands near the front of each. */
export class ExportTally {
  /** By the bytes that spell the organization, as looking up is all there is time for. */
  private readonly counts = new Map<string, number>();

  constructor(private readonly format: ExportFormatName) {}

  /** Counts a row, as PostgreSQL wrote it. */
  add(row: Buffer): void {
    const spelling = this.format === 'csv' ? csvCell(row) : jsonMember(row);
    this.counts.set(spelling, (this.counts.get(spelling) ?? 0) + 1);
  }

  /** The rows of each organization. `known` tells an apostrophe of its own from one that neutralises a cell. */
  rows(known: readonly string[] | '*'): Map<string, number> {
    return new Map(
      [...this.counts].map(([spelling, count]) => {
        const text = Buffer.from(spelling, 'latin1').toString();
        return [this.format === 'csv' ? plain(text, known) : (JSON.parse(text) as string), count];
      }),
    );
  }
}

function jsonMember(row: Buffer): string {
  const start = row.indexOf(MEMBER) + MEMBER.length;
  return row.toString('latin1', start, row.indexOf(NEXT_MEMBER, start));
}

function csvCell(row: Buffer): string {
  let start = 0;
  for (let column = 0; column < COLUMNS_BEFORE; column += 1) start = row.indexOf(COMMA, start) + 1;
  if (row[start] !== QUOTE) return row.toString('latin1', start, row.indexOf(COMMA, start));
  let end = start + 1;
  while (row[end] !== QUOTE || row[end + 1] === QUOTE) end += row[end] === QUOTE ? 2 : 1;
  return row.toString('latin1', start, end + 1);
}

function plain(cell: string, known: readonly string[] | '*'): string {
  const text = cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell;
  const isOwn = !/^'[=+\-@\t\r\n]/.test(text) || (known !== '*' && known.includes(text));
  return isOwn ? text : text.slice(1);
}
