import type { Line } from '../platform/runtime/line-splitter';
import type { EventLine, RecordReader, RefusedLine } from './record-reader';

/** Lines that go to the service together, and those between them that cannot. */
export interface Chunk {
  events: EventLine[];
  refused: RefusedLine[];
}

/**
 * Groups lines into chunks of at most `maxEvents` lines and `maxBytes` of their request's body; a single event that is
 * larger is a chunk of its own.
 */
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
    // A refused line counts with its record, which is held until it is written down.
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
