import type { Line } from '../platform/runtime/line-splitter';
import type { EventLine, RecordReader, RefusedLine } from './record-reader';

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
