import type { FieldError } from '../../platform/errors/app-error';
import {
  type ExportFormat,
  exportFormat,
  type ExportFormatName,
} from '../../streaming/export-format';
import { eventFormat, type EventFormatName, JSON_FORMATS } from '../event/formats/event-formats';
import type { ExportList, ExportTally } from './export-statement';

/** The parameter `format`: how events stand in a file. CEF is both, a form of the event and lines of text. */
export const EXPORT_FORMAT_NAMES = ['json', 'ndjson', 'csv', 'cef'] as const;
export type ExportName = (typeof EXPORT_FORMAT_NAMES)[number];

/** The parameter `schema`: the form of each event in JSON. */
export const EXPORT_SCHEMAS: readonly EventFormatName[] = JSON_FORMATS;

/** Container of an export, and the form of each event in it. */
export interface Layout {
  format: ExportFormatName;
  schema: EventFormatName;
}

export function layoutOf(name: ExportName, schema: EventFormatName = 'native'): Layout {
  return name === 'cef' ? { format: 'text', schema: 'cef' } : { format: name, schema };
}

/** The parameters that select a layout, without a default. */
export function parametersOf({ format, schema }: Layout): { format: string; schema?: string } {
  if (format === 'text') return { format: schema };
  return schema === 'native' ? { format } : { format, schema };
}

/** Errors of parameters that contradict each other. */
export function layoutErrors(name: ExportName, schema: EventFormatName | undefined): FieldError[] {
  if (schema === undefined) return [];
  if (name === 'cef') {
    return [{ path: 'schema', message: 'is only for format=json and format=ndjson' }];
  }
  if (name !== 'csv' || schema === 'native') return [];
  const message =
    'must be native with format=csv, whose columns are the members of an event; ' +
    `${schema} is nested: take format=json or format=ndjson`;
  return [{ path: 'schema', message }];
}

/** `csv`, `cef`, `ocsf.ndjson`. */
export function extensionOf({ format, schema }: Layout): string {
  if (format === 'text') return schema;
  return schema === 'native' ? format : `${schema}.${format}`;
}

/** The container of a list's rows, with the media type of their form. */
export function containerOf(list: ExportList, hasBom: boolean): ExportFormat {
  const { columns, delimiter, format, schema } = list;
  const container = exportFormat(format, { columns, delimiter, hasBom });
  const { arrayMediaType } = eventFormat(schema);
  return format === 'json' && arrayMediaType !== undefined
    ? { ...container, mediaType: arrayMediaType }
    : container;
}

const LINE_FEED = '\n';

/** Counts a row of COPY for `tally`, and writes its event in the form of the list. Undefined where rows stay as they are. */
export function rowWriter(
  schema: EventFormatName,
  tally: ExportTally | undefined,
): ((row: Buffer) => Buffer) | undefined {
  const counted = tally && ((row: Buffer) => tally.take(row));
  if (schema === 'native') return counted;
  const { write } = eventFormat(schema);
  return (row) => {
    const eventText = (counted?.(row) ?? row).toString('utf8', 0, row.length - 1);
    return Buffer.from(write(eventText) + LINE_FEED);
  };
}
