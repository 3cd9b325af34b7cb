import { createHash } from 'node:crypto';
import { mapCloudTrail } from './cloudtrail.mapping';
import { mapEvent } from './event.mapping';
import { keepingRecord, objectOf, type RecordMapping, UnmappableRecord } from './record-mapping';
import { mapWikipedia } from './wikipedia.mapping';
import type { Line } from '../platform/runtime/line-splitter';

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

/**
 * A UUID (version 8, RFC 9562: 122 bits of a SHA-256) of these parts, so that a line of a file becomes the same event
 * however often it is imported.
 */
export function deterministicUuid(parts: readonly string[]): string {
  const hash = createHash('sha256');
  // The lengths keep ['ab', 'c'] and ['a', 'bc'] apart.
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  const bytes = hash.digest().subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

export interface Chunk {
  events: EventLine[];
  refused: RefusedLine[];
}

/** Chunks of at most `maxEvents` lines and `maxBytes` of body; a larger event is a chunk of its own. */
export async function* chunksOf(
  source: AsyncIterable<Line>,
  reader: RecordReader,
  { maxEvents, maxBytes }: { maxEvents: number; maxBytes: number },
): AsyncGenerator<Chunk> {
  let chunk: Chunk = { events: [], refused: [] };
  let bytes = 0;
  for await (const line of source) {
    const outcome = reader.read(line);
    if (outcome === undefined) continue;
    // A refused line counts too: its record is held until it is written.
    const isEvent = 'event' in outcome;
    const outcomeBytes = Buffer.byteLength(isEvent ? outcome.event : outcome.record) + 1;
    const lines = chunk.events.length + chunk.refused.length;
    if (lines >= maxEvents || (lines > 0 && bytes + outcomeBytes > maxBytes)) {
      yield chunk;
      chunk = { events: [], refused: [] };
      bytes = 0;
    }
    bytes += outcomeBytes;
    if (isEvent) chunk.events.push(outcome);
    else chunk.refused.push(outcome);
  }
  if (chunk.events.length + chunk.refused.length > 0) yield chunk;
}
