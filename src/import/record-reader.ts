import { exactText, type RawRecord } from './raw-record';
import { type Format, recordFormat } from './record-formats';
import { objectOf, type RecordMapping, UnmappableRecord } from './record-mapping';
import { derivedUuid } from '../platform/runtime/derived-uuid';
import type { Line } from '../platform/runtime/line-splitter';

/** Place of a record. */
interface Place {
  file?: string;
  line: number;
  element?: number;
  /** Counted over all files. */
  position: number;
  /** Of a record that was joined from several. */
  lines?: number;
}

/** `event` is sent; `record` is for the refused file. */
export interface EventLine extends Place {
  record: string;
  event: string;
}

export interface RefusedLine extends Place {
  record: string;
  reason: string[];
}

const BYTE_ORDER_MARK = '\ufeff';

/** Turns records of one format into events. */
export class RecordReader {
  private readonly map: RecordMapping;
  /** In the ids of records. */
  private readonly name: string;
  private position = 0;

  constructor(
    format: Format,
    private readonly organizationId: string | undefined,
    private readonly isBasic = false,
  ) {
    const { map, idsOf = format } = recordFormat(format);
    this.map = map;
    this.name = idsOf;
  }

  /** Undefined for a blank line. */
  read(raw: RawRecord): EventLine | RefusedLine | undefined {
    this.position += 1;
    const { number, element, file, lines, content } = raw;
    const place: Place = {
      ...(file === undefined ? {} : { file }),
      line: number,
      ...(element === undefined ? {} : { element }),
      position: this.position,
      ...(lines === undefined ? {} : { lines }),
    };
    const what = element === undefined ? 'line' : 'element';
    const refused = (reason: string, record = raw.bytes.toString('utf8')): RefusedLine => ({
      ...place,
      reason: [reason],
      record,
    });
    if (raw.isTooLong) {
      return refused(`the ${what} is longer than a request may be; its beginning is shown`);
    }
    if (content && 'refusal' in content) return refused(content.refusal);
    let record: string;
    try {
      record = recordTextOf(raw);
    } catch {
      return refused(`the ${what} is not valid UTF-8; the bytes that are not are shown as \ufffd`);
    }
    if (record === '') return undefined;
    try {
      const text = content?.json ?? record;
      return { ...place, record, event: this.eventOf(text, element ?? number, what) };
    } catch (error) {
      if (error instanceof UnmappableRecord) return refused(error.message, record);
      throw error;
    }
  }

  private eventOf(record: string, number: number, what: string): string {
    const value = objectOf(parsed(record, what));
    if (value === undefined) throw new UnmappableRecord(`the ${what} is not a JSON object`);
    // In valid JSON raw line breaks are between tokens only.
    const text = record.replaceAll(/[\r\n]/g, '');
    const organizationId = this.organizationId;
    return this.map({
      text,
      value,
      organizationId,
      isBasic: this.isBasic,
      derivedId: () => derivedUuid([this.name, organizationId ?? '', String(number), text]),
      namedId: (...parts) => derivedUuid([this.name, ...parts]),
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

function parsed(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    throw new UnmappableRecord(`the ${what} is not valid JSON: ${detail}`);
  }
}

export interface Chunk {
  events: EventLine[];
  refused: RefusedLine[];
}

/** Chunks of at most `maxEvents` lines and `maxBytes` of body; a larger event is a chunk of its own. */
export async function* chunksOf(
  source: AsyncIterable<RawRecord>,
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
