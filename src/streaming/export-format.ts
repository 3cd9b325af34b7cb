import type { ChunkBuffer } from './chunk-buffer';

/** The formats that exports come in. */
export const EXPORT_FORMATS = ['json', 'ndjson', 'csv'] as const;
export type ExportFormatName = (typeof EXPORT_FORMATS)[number];

/** How rows of COPY become a file. */
export interface ExportFormat {
  /** Content-Type. */
  mediaType: string;
  /** What stands before the first row, whether there is one or not. */
  begin: Buffer;
  /** Adds a row as PostgreSQL wrote it (closed by a line feed); `index` counts from 0. */
  append: (out: ChunkBuffer, row: Buffer, index: number) => void;
  /** What stands behind the last of `rows`. */
  end: (rows: number) => Buffer;
}

export interface CsvOptions {
  /** The names in the header row. */
  columns: readonly string[];
  /** Whether a byte-order mark stands first, by which Excel knows that the file is UTF-8. */
  hasBom: boolean;
}

const NOTHING = Buffer.alloc(0);
const BYTE_ORDER_MARK = Buffer.from('\ufeff');
const CRLF = Buffer.from('\r\n');
const [OPEN, NEXT] = [Buffer.from('[\n'), Buffer.from(',\n')];
const [CLOSE, EMPTY] = [Buffer.from('\n]\n'), Buffer.from('[]\n')];

/** One JSON value a line: the rows as they are. */
const NDJSON: ExportFormat = {
  mediaType: 'application/x-ndjson; charset=utf-8',
  begin: NOTHING,
  append: (out, row) => out.append(row),
  end: () => NOTHING,
};

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

/** RFC 4180: PostgreSQL quotes as it says, but ends lines with a line feed alone. */
function csv({ columns, hasBom }: CsvOptions): ExportFormat {
  const header = Buffer.from(`${columns.join(',')}\r\n`);
  return {
    mediaType: 'text/csv; charset=utf-8; header=present',
    begin: hasBom ? Buffer.concat([BYTE_ORDER_MARK, header]) : header,
    append: (out, row) => {
      out.append(row, row.length - 1);
      out.append(CRLF);
    },
    end: () => NOTHING,
  };
}

/** The format of this name. Rows are JSON text for `json` and `ndjson`, and CSV of `columns` for `csv`. */
export function exportFormat(name: ExportFormatName, options: CsvOptions): ExportFormat {
  if (name === 'csv') return csv(options);
  return name === 'json' ? JSON_ARRAY : NDJSON;
}
