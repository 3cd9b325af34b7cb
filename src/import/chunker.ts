import type { Line } from '../platform/runtime/line-splitter';
import type { EventLine, RecordReader, RefusedLine } from './record-reader';

/** The lines that go to the service together, and those between them that never will. */
export interface Chunk {
  events: EventLine[];
  refused: RefusedLine[];
}

export interface ChunkLimits {
  /** Lines of one request. */
  maxEvents: number;
  /** Bytes of one request's body; a single event that is larger goes alone. */
  maxBytes: number;
}

/** The body of a request, an event a line, joined as text: serialising the events again would re-spell their numbers. */
export function bodyOf(events: readonly EventLine[]): string {
  return events.map(({ event }) => `${event}\n`).join('');
}

/** Groups lines into chunks within the limits. */
export async function* chunksOf(
  source: AsyncIterable<Line>,
  reader: RecordReader,
  limits: ChunkLimits,
): AsyncGenerator<Chunk> {
  let chunk: Chunk = { events: [], refused: [] };
  let bytes = 0;
  for await (const line of source) {
    const outcome = reader.read(line);
    if (outcome === undefined) continue;
    // A refused line weighs what its record does, as that is held until it is written down.
    const isEvent = 'event' in outcome;
    const outcomeBytes = Buffer.byteLength(isEvent ? outcome.event : outcome.record) + 1;
    const lines = chunk.events.length + chunk.refused.length;
    if (lines >= limits.maxEvents || (lines > 0 && bytes + outcomeBytes > limits.maxBytes)) {
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
