import type { ExportCoding } from './compressor';
import type { ExportFormat } from './export-format';

export interface ExportDescription {
  format: ExportFormat;
  coding: ExportCoding;
  /** What does not go well in a file name anywhere is replaced. */
  fileName: string;
  /** HTTP/1.0 has none, nor an answer without a body. */
  hasTrailers: boolean;
}

/** The head of an answer that is an export. */
export function exportHeaders(description: ExportDescription): Record<string, string> {
  const { format, coding, fileName, hasTrailers } = description;
  return {
    'Content-Type': format.mediaType,
    'Content-Disposition': `attachment; filename="${safeFileName(fileName)}"`,
    // Not for keeping, nor for a proxy or a middleware to compress once more.
    'Cache-Control': 'private, no-store, no-transform',
    Vary: 'Authorization, Accept, Accept-Encoding',
    ...(coding === 'identity' ? {} : { 'Content-Encoding': coding }),
    ...(hasTrailers ? { Trailer: 'X-Export-Rows, X-Export-Complete' } : {}),
  };
}

function safeFileName(name: string): string {
  return name.replace(/[^A-Za-z0-9._-]+/g, '-').slice(0, 200);
}
