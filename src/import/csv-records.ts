import type { Line } from '../platform/runtime/line-splitter';
import { CsvRowSplitter } from './csv-row-splitter';
import { exactText, type RawRecord } from './raw-record';
import { objectOf } from './record-mapping';

/** Columns of a CSV export, and the kinds of their cells: `text` is neutralized against formulas, a `list` is JSON. */
export const CSV_COLUMNS = {
  id: 'word',
  timestamp: 'word',
  recordedAt: 'word',
  sequence: 'word',
  organizationId: 'text',
  principalId: 'text',
  action: 'text',
  targetResourceType: 'text',
  targetResourceId: 'text',
  status: 'word',
  outcomeDescription: 'text',
  dataClassification: 'word',
  correlationId: 'text',
  sessionContext: 'json',
  metadata: 'json',
  principalType: 'text',
  principalName: 'text',
  targets: 'list',
  changes: 'list',
  source: 'json',
  schemaVersion: 'text',
} as const;
type Column = keyof typeof CSV_COLUMNS;

/** Without them a row is no event. */
const REQUIRED: readonly Column[] = ['organizationId', 'action', 'status'];

const DELIMITERS = [',', ';', '\t'];
const BYTE_ORDER_MARK = '\ufeff';
/** Characters of a cell, in UTF-16 units, after which spreadsheets cut it. */
const SPREADSHEET_CHARACTERS = 32_767;

export interface CsvOptions {
  /** Exported with `csv_raw=true`: no apostrophe was put before formulas. */
  isRaw: boolean;
  /** Of all events: the file needs no column for it. */
  organizationId: string | undefined;
}

/** Whether a file begins with a header row. One with names that are no columns is one, too, which is refused. */
export function beginsCsv(head: string): boolean {
  const { cells } = headerIn(firstRowOf(head));
  return cells.length > 1 && cells.some(isColumn);
}

/**
 * Reads a CSV export row by row; rows become events as a JSON export has them. Separator and columns are those of its
 * header. Holds one row of at most `maxBytes`.
 * @throws Error when the header is none, or when the content ends inside a quoted cell.
 */
export async function* readCsvRecords(
  source: AsyncIterable<Buffer>,
  head: Buffer,
  maxBytes: number,
  options: CsvOptions,
): AsyncGenerator<RawRecord> {
  const { delimiter, columns } = readHeader(head, options);
  const rows = new CsvRowSplitter(delimiter, maxBytes);
  const cells = new CellReader(delimiter, options.isRaw);
  let isHeader = true;
  const recordOf = (row: Line): RawRecord =>
    row.isTooLong ? row : { ...row, ...contentOf(row.bytes, columns, cells) };
  for await (const part of source) {
    for (const row of rows.split(part)) {
      if (!isHeader) yield recordOf(row);
      isHeader = false;
    }
  }
  const last = rows.end();
  if (last && !isHeader) yield recordOf(last);
}

function firstRowOf(text: string): string {
  const [row = ''] = text.replace(BYTE_ORDER_MARK, '').split('\n', 1);
  return row.replace(/\r$/, '');
}

function headerIn(row: string): { delimiter: string; cells: string[] } {
  const delimiter = DELIMITERS.find((one) => row.includes(one)) ?? ',';
  return { delimiter, cells: row.split(delimiter).map((cell) => cell.replace(/^"(.*)"$/, '$1')) };
}

const isColumn = (name: string): name is Column => Object.hasOwn(CSV_COLUMNS, name);

function readHeader(
  head: Buffer,
  { organizationId }: CsvOptions,
): { delimiter: string; columns: Column[] } {
  if (/^(?:\u00ff\u00fe|\u00fe\u00ff)/.test(head.toString('latin1', 0, 2))) {
    throw new Error('the content is UTF-16, and exports are UTF-8');
  }
  const { delimiter, cells } = headerIn(firstRowOf(head.toString('utf8')));
  const columns = cells.filter(isColumn);
  const unknown = cells.find((cell) => !isColumn(cell));
  const known = `the columns of an export are ${Object.keys(CSV_COLUMNS).join(', ')}`;
  if (unknown !== undefined) {
    throw new Error(`line 1 is not the header of an export: ${shown(unknown)} is none; ${known}`);
  }
  const twice = columns.find((column, index) => columns.indexOf(column) !== index);
  if (twice) throw new Error(`line 1 has the column ${twice} twice`);
  const isGiven = (name: Column) => columns.includes(name);
  const missing = REQUIRED.filter((name) => !isGiven(name)).filter(
    (name) => name !== 'organizationId' || organizationId === undefined,
  );
  if (missing.length > 0) {
    const hint = missing.includes('organizationId') ? '; --organization may stand for it' : '';
    throw new Error(`line 1 lacks ${missing.join(', ')}, which every event needs${hint}`);
  }
  return { delimiter, columns };
}

const shown = (text: string) => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);

function contentOf(
  bytes: Buffer,
  columns: readonly Column[],
  reader: CellReader,
): Pick<RawRecord, 'content'> {
  let row: string;
  try {
    row = exactText.decode(bytes).replace(/\r$/, '');
  } catch {
    return refused('the row is not valid UTF-8; the bytes that are not are shown as \ufffd');
  }
  // A blank line: a row has two cells at least.
  if (row === '') return {};
  try {
    return { content: { json: eventOf(row, columns, reader) } };
  } catch (error) {
    if (error instanceof UnreadableRow) return refused(error.message);
    throw error;
  }
}

const refused = (refusal: string) => ({ content: { refusal } });

/** The message is the reason in the refused file. */
class UnreadableRow extends Error {}

function eventOf(row: string, columns: readonly Column[], reader: CellReader): string {
  const cells = reader.cellsOf(row);
  if (cells.length !== columns.length) {
    const long = cells.some(({ text }) => text.length >= SPREADSHEET_CHARACTERS)
      ? ` and one of ${SPREADSHEET_CHARACTERS} characters: a spreadsheet holds no more, and has cut it`
      : '';
    throw new UnreadableRow(
      `the row has ${cells.length} cells instead of ${columns.length}, as its header has${long}`,
    );
  }
  const members = columns.flatMap((column, index) => {
    const cell = cells[index];
    // An empty text is quoted; without quotes it is null.
    if (cell === undefined || (cell.text === '' && !cell.isQuoted)) return [];
    return [`${JSON.stringify(column)}:${reader.valueOf(column, cell.text)}`];
  });
  return `{${members.join(',')}}`;
}

interface Cell {
  text: string;
  isQuoted: boolean;
}

const FORMULA = '=+@\uff1d\uff0b\uff0d\uff20-';

/** Reads the cells of a row, without the apostrophes that an export puts before formulas. */
class CellReader {
  /** A formula at the start of a cell, with its apostrophe or without. */
  private readonly atStart = new RegExp(`^('*)[\\t\\r\\n${FORMULA}]`);
  /** A formula after a character that another reader takes for a separator. */
  private readonly inside: RegExp;
  private readonly insideUnmarked: RegExp;

  constructor(
    private readonly delimiter: string,
    private readonly isRaw: boolean,
  ) {
    const separators = `[${DELIMITERS.filter((one) => one !== delimiter).join('')}\\r\\n]`;
    this.inside = new RegExp(`(${separators}"*'*)'(?=[${FORMULA}])`, 'g');
    this.insideUnmarked = new RegExp(`${separators}"*[${FORMULA}]`);
  }

  /** @throws UnreadableRow for a quote where none may be. */
  cellsOf(row: string): Cell[] {
    const cells: Cell[] = [];
    for (let at = 0; at <= row.length; at += 1) {
      const isQuoted = row[at] === '"';
      const end = isQuoted ? endOfQuoted(row, at) : this.endOfPlain(row, at);
      const text = row.slice(at, end);
      if (end < row.length && row[end] !== this.delimiter) {
        throw new UnreadableRow(`cell ${cells.length + 1} goes on after its closing quote`);
      }
      if (!isQuoted && /["\r]/.test(text)) {
        throw new UnreadableRow(`cell ${cells.length + 1} needs quotes around it`);
      }
      cells.push({ text: isQuoted ? text.slice(1, -1).replaceAll('""', '"') : text, isQuoted });
      at = end;
    }
    return cells;
  }

  /** The JSON of a cell. @throws UnreadableRow */
  valueOf(column: Column, text: string): string {
    const kind = CSV_COLUMNS[column];
    if (kind === 'json' || kind === 'list') return jsonOf(column, kind, text);
    return JSON.stringify(kind === 'text' && !this.isRaw ? this.restored(column, text) : text);
  }

  private endOfPlain(row: string, from: number): number {
    const end = row.indexOf(this.delimiter, from);
    return end === -1 ? row.length : end;
  }

  /** Without the apostrophes of the export. */
  private restored(column: Column, text: string): string {
    const apostrophes = this.atStart.exec(text)?.[1];
    if (apostrophes === '' || this.insideUnmarked.test(text)) {
      throw new UnreadableRow(
        `${column} holds a formula without the apostrophe that an export puts before it: give --csv-raw for an export with csv_raw=true`,
      );
    }
    return (apostrophes ? text.slice(1) : text).replace(this.inside, '$1');
  }
}

/** The position after the closing quote of the cell that begins at `from`. */
function endOfQuoted(row: string, from: number): number {
  for (let quote = row.indexOf('"', from + 1); ; quote = row.indexOf('"', quote + 2)) {
    if (quote === -1) throw new UnreadableRow('a quoted cell has no closing quote');
    if (row[quote + 1] !== '"') return quote + 1;
  }
}

function jsonOf(column: Column, kind: 'json' | 'list', text: string): string {
  const isRight = (value: unknown) =>
    kind === 'list' ? Array.isArray(value) : objectOf(value) !== undefined;
  const form = kind === 'list' ? 'array' : 'object';
  try {
    if (!isRight(JSON.parse(text))) throw new SyntaxError(`it is not an ${form}`);
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    const isCut = text.length === SPREADSHEET_CHARACTERS;
    throw new UnreadableRow(
      isCut
        ? `${column} was cut by a spreadsheet, which holds ${SPREADSHEET_CHARACTERS} characters a cell`
        : `${column} is not a JSON ${form}: ${detail}`,
    );
  }
  // In valid JSON raw line breaks are between tokens only.
  return text.replaceAll(/[\r\n]/g, '');
}
