import type { ExportFormatName } from '../../streaming/export-format';

const MEMBER = Buffer.from(',"organizationId":');
const NEXT_MEMBER = Buffer.from(',"principalId":');
const [COMMA, QUOTE] = [0x2c, 0x22];

/** Counts the rows of an export by organization, as they pass. */
export class ExportTally {
  /** By the bytes that spell the organization, as looking up is all there is time for. */
  private readonly counts = new Map<string, number>();

  constructor(private readonly format: ExportFormatName) {}

  /** Counts a row, as the statement with `isTallied` makes it, and returns what of it goes out. */
  take(row: Buffer): Buffer {
    const isCsv = this.format === 'csv';
    const end = isCsv ? endOfFirstCell(row) : 0;
    const spelling = isCsv ? row.toString('latin1', 0, end) : jsonMember(row);
    this.counts.set(spelling, (this.counts.get(spelling) ?? 0) + 1);
    return isCsv ? row.subarray(end + 1) : row;
  }

  /** The rows of each organization. */
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
