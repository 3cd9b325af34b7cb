import { mapCloudTrail } from './cloudtrail.mapping';
import { mapEvent } from './event.mapping';
import type { Line } from '../platform/runtime/line-splitter';
import { deterministicUuid } from './deterministic-uuid';
import { keepingRecord, objectOf, UnmappableRecord, type RecordMapping } from './record-mapping';
import { mapWikipedia } from './wikipedia.mapping';

const MAPPINGS = {
  cloudtrail: keepingRecord(mapCloudTrail),
  wikipedia: keepingRecord(mapWikipedia),
  event: mapEvent,
} satisfies Record<string, RecordMapping>;

export type Format = keyof typeof MAPPINGS;

export const FORMATS = Object.keys(MAPPINGS) as Format[];

/** `event` is sent; `record` is for the refused file. */
export interface EventLine {
  line: number;
  record: string;
  event: string;
}

export interface RefusedLine {
  line: number;
  record: string;
  reason: string[];
}

const BYTE_ORDER_MARK = '\ufeff';
/** Fails rather than replace bytes by U+FFFD. */
const exactText = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Turns lines of one format into events. */
export class RecordReader {
  private readonly map: RecordMapping;

  constructor(
    private readonly format: Format,
    private readonly organizationId: string | undefined,
  ) {
    this.map = MAPPINGS[format];
  }

  /** Undefined for a blank line. */
  read(line: Line): EventLine | RefusedLine | undefined {
    if (line.isTooLong) {
      return refused(line, 'the line is longer than a request may be; its beginning is shown');
    }
    let record: string;
    try {
      record = recordTextOf(line);
    } catch {
      return refused(
        line,
        'the line is not valid UTF-8; the bytes that are not are shown as \ufffd',
      );
    }
    if (record === '') return undefined;
    try {
      return { line: line.number, record, event: this.eventOf(record, line.number) };
    } catch (error) {
      if (error instanceof UnmappableRecord) return refused(line, error.message, record);
      throw error;
    }
  }

  private eventOf(record: string, lineNumber: number): string {
    const value = objectOf(parsed(record));
    if (value === undefined) throw new UnmappableRecord('the line is not a JSON object');
    // In valid JSON a raw carriage return is between tokens only.
    const text = record.replaceAll('\r', '');
    const organizationId = this.organizationId;
    return this.map({
      text,
      value,
      organizationId,
      derivedId: () =>
        deterministicUuid([this.format, organizationId ?? '', String(lineNumber), text]),
    });
  }
}

function recordTextOf(line: Line): string {
  const text = exactText.decode(line.bytes);
  const isMarked = line.number === 1 && text.startsWith(BYTE_ORDER_MARK);
  return trimBlanks(isMarked ? text.slice(1) : text);
}

/** Trims white space of JSON alone: `trim` would take a stray byte-order mark too. */
function trimBlanks(text: string): string {
  return text.replace(/^[ \t\r]+/, '').replace(/[ \t\r]+$/, '');
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    throw new UnmappableRecord(`the line is not valid JSON: ${detail}`);
  }
}

function refused(line: Line, reason: string, record = line.bytes.toString('utf8')): RefusedLine {
  return { line: line.number, record, reason: [reason] };
}
