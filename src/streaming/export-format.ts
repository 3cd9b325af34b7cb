import type { ExportCoding } from './response-sink';

export const EXPORT_FORMATS = ['json', 'ndjson', 'csv', 'text'] as const;
export type ExportFormatName = (typeof EXPORT_FORMATS)[number];

export const CSV_DELIMITERS = { comma: ',', semicolon: ';', tab: '\t' } as const;
export type CsvDelimiter = keyof typeof CSV_DELIMITERS;

/** Framing of COPY's rows in a file. */
export interface ExportFormat {
  mediaType: string;
  /** Bytes before the first row, also without rows. */
  begin: Buffer;
  /** Adds a row of COPY (with a line feed); `index` counts from 0. */
  append: (out: ChunkBuffer, row: Buffer, index: number) => void;
  /** Bytes after the last of `rows`. */
  end: (rows: number) => Buffer;
  /** Names of the trailers of `trailers`, beside those of every export. */
  trailerNames?: readonly string[];
  /** Trailers after the last row. */
  trailers?: () => Record<string, string>;
}

export interface CsvOptions {
  /** Header row. */
  columns: readonly string[];
  delimiter: CsvDelimiter;
  /** Byte-order mark, by which Excel recognizes UTF-8. */
  hasBom: boolean;
}

const NOTHING = Buffer.alloc(0);
const BYTE_ORDER_MARK = Buffer.from('\ufeff');
const CRLF = Buffer.from('\r\n');
const [OPEN, NEXT] = [Buffer.from('[\n'), Buffer.from(',\n')];
const [CLOSE, EMPTY] = [Buffer.from('\n]\n'), Buffer.from('[]\n')];

/** One JSON value a line. */
const NDJSON: ExportFormat = {
  mediaType: 'application/x-ndjson; charset=utf-8',
  begin: NOTHING,
  append: (out, row) => out.append(row),
  end: () => NOTHING,
};

/** Lines of text that is no JSON. */
const TEXT_LINES: ExportFormat = { ...NDJSON, mediaType: 'text/plain; charset=utf-8' };

/** One array, an element a line. */
const JSON_ARRAY: ExportFormat = {
  mediaType: 'application/json; charset=utf-8',
  begin: NOTHING,
  append: (out, row, index) => {
    out.append(index === 0 ? OPEN : NEXT);
    out.append(row, row.length - 1);
  },
  end: (rows) => (rows === 0 ? EMPTY : CLOSE),
};

/** Excel cuts longer cells, or moves the rest to the next. */
const MAX_SPREADSHEET_CHARACTERS = 32_767;
const LONG_CELLS = 'X-Export-Long-Cells';

/** Cells of a row that a spreadsheet cannot hold, in UTF-16 units as spreadsheets count. */
function longCellsIn(row: Buffer, delimiter: CsvDelimiter): number {
  const separator = CSV_DELIMITERS[delimiter];
  const cell = new RegExp(`"[^"]*(?:""[^"]*)*"|[^${separator}]+`, 'g');
  const text = row.toString('utf8', 0, row.length - 1);
  let long = 0;
  for (const [found] of text.matchAll(cell)) {
    if (found.length <= MAX_SPREADSHEET_CHARACTERS) continue;
    const value = found.startsWith('"') ? found.slice(1, -1).replaceAll('""', '"') : found;
    if (value.length > MAX_SPREADSHEET_CHARACTERS) long += 1;
  }
  return long;
}

/** RFC 4180: PostgreSQL quotes like that, but ends lines with a line feed alone. */
function csv({ columns, delimiter, hasBom }: CsvOptions): ExportFormat {
  const header = Buffer.from(`${columns.join(CSV_DELIMITERS[delimiter])}\r\n`);
  let longCells = 0;
  return {
    mediaType: 'text/csv; charset=utf-8; header=present',
    begin: hasBom ? Buffer.concat([BYTE_ORDER_MARK, header]) : header,
    append: (out, row) => {
      if (row.length > MAX_SPREADSHEET_CHARACTERS) longCells += longCellsIn(row, delimiter);
      out.append(row, row.length - 1);
      out.append(CRLF);
    },
    end: () => NOTHING,
    trailerNames: [LONG_CELLS],
    trailers: () => ({ [LONG_CELLS]: String(longCells) }),
  };
}

const JSON_OR_LINES = { json: JSON_ARRAY, ndjson: NDJSON, text: TEXT_LINES };

/**
 * Expects rows as JSON text for `json` and `ndjson`, lines for `text`, CSV of `columns` for `csv`. Cells that look like a formula are
 * neutralized in SQL (audit/export/csv-cells.ts).
 */
export function exportFormat(name: ExportFormatName, options: CsvOptions): ExportFormat {
  return name === 'csv' ? csv(options) : JSON_OR_LINES[name];
}

export interface ExportDescription {
  format: ExportFormat;
  coding: ExportCoding;
  /** Characters that some file systems refuse are replaced. */
  fileName: string;
  /** Not in HTTP/1.0, nor without a body. */
  hasTrailers: boolean;
}

const TRAILERS = ['X-Export-Rows', 'X-Export-Complete'];

/** Headers of an export's response. */
export function exportHeaders(description: ExportDescription): Record<string, string> {
  const { format, coding, fileName, hasTrailers } = description;
  return {
    'Content-Type': format.mediaType,
    'Content-Disposition': `attachment; filename="${safeFileName(fileName)}"`,
    // no-transform: neither a proxy nor a middleware may compress it again.
    'Cache-Control': 'private, no-store, no-transform',
    Vary: 'Authorization, Accept, Accept-Encoding',
    ...(coding === 'identity' ? {} : { 'Content-Encoding': coding }),
    ...(hasTrailers ? { Trailer: [...TRAILERS, ...(format.trailerNames ?? [])].join(', ') } : {}),
  };
}

function safeFileName(name: string): string {
  return name.replace(/[^A-Za-z0-9._-]+/g, '-').slice(0, 200);
}

const FIRST_BYTES = 64 * 1024;

/** Growing buffer of one write; a taken chunk never changes. */
export class ChunkBuffer {
  private bytes = Buffer.allocUnsafeSlow(FIRST_BYTES);
  private used = 0;

  get length(): number {
    return this.used;
  }

  append(part: Buffer, end = part.length): void {
    const wanted = this.used + end;
    if (wanted > this.bytes.length) this.grow(wanted);
    part.copy(this.bytes, this.used, 0, end);
    this.used = wanted;
  }

  /** Bytes since the last call. */
  take(): Buffer {
    const taken = this.bytes.subarray(0, this.used);
    // The next chunk is probably about as long as this one.
    this.bytes = Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, this.used + (this.used >> 3)));
    this.used = 0;
    return taken;
  }

  private grow(wanted: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(wanted, 2 * this.bytes.length));
    this.bytes.copy(larger, 0, 0, this.used);
    this.bytes = larger;
  }
}
