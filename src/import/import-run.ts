import { chunksOf, type Chunk, type ChunkLimits } from './chunker';
import type { ChunkResult, ChunkSender } from './chunk-sender';
import { readLines } from '../platform/runtime/line-splitter';
import type { RecordReader } from './record-reader';
import type { RefusedFile } from './refused-file';

/** The count of an import, at any moment and at its end. */
export interface ImportTally {
  /** Lines taken up, blank ones aside. */
  read: number;
  created: number;
  duplicates: number;
  refused: number;
  seconds: number;
}

export interface ImportParts {
  content: AsyncIterable<Buffer>;
  reader: RecordReader;
  sender: ChunkSender;
  refusedFile: RefusedFile;
  limits: ChunkLimits;
  /** Requests under way at a time. */
  concurrency: number;
  /** Aborted from outside to stop early; the requests under way are heard out and counted. */
  stop: AbortController;
  onProgress: (tally: ImportTally) => void;
}

/** As long as a request may be by default (REQUEST_MAX_SIZE_MB); a longer line could not be sent. */
const MAX_LINE_BYTES = 10 * 1024 * 1024;

type Settled = { result: ChunkResult } | { error: unknown };

/** One import from the first byte to the last answer. Holds at most `concurrency` + 1 chunks. */
export class ImportRun {
  private readonly startedAtMs = performance.now();
  private readonly counts = { read: 0, created: 0, duplicates: 0, refused: 0 };
  private readonly underWay: Promise<Settled>[] = [];

  constructor(private readonly parts: ImportParts) {}

  get tally(): ImportTally {
    return { ...this.counts, seconds: (performance.now() - this.startedAtMs) / 1000 };
  }

  /**
   * Reads, sends and settles everything. Throws what stopped it (ImportStopped, a read error, an AbortError after
   * `stop`), after every request that was under way has been settled and counted: the tally is true either way.
   */
  async run(): Promise<void> {
    const { reader, limits, concurrency, content, stop } = this.parts;
    try {
      const lines = readLines(content, MAX_LINE_BYTES);
      for await (const chunk of chunksOf(lines, reader, limits)) {
        while (this.underWay.length >= concurrency) await this.settleOldest();
        stop.signal.throwIfAborted();
        this.counts.read += chunk.events.length + chunk.refused.length;
        this.underWay.push(this.started(chunk));
      }
      while (this.underWay.length > 0) await this.settleOldest();
    } catch (error) {
      stop.abort();
      await this.settleRest();
      throw error;
    }
  }

  /** The outcome as a value: a failure must wait for its turn without counting as unhandled. */
  private started(chunk: Chunk): Promise<Settled> {
    return this.parts.sender.send(chunk).then(
      (result) => ({ result }),
      (error: unknown) => ({ error }),
    );
  }

  /** In the order of the file, so that the refused file is in that order too. */
  private async settleOldest(): Promise<void> {
    const settled = await this.underWay.shift();
    if (settled === undefined) return;
    if ('error' in settled) throw settled.error;
    const { created, duplicates, refused } = settled.result;
    this.counts.created += created;
    this.counts.duplicates += duplicates;
    this.counts.refused += refused.length;
    await this.parts.refusedFile.write(refused);
    this.parts.onProgress(this.tally);
  }

  private async settleRest(): Promise<void> {
    while (this.underWay.length > 0) {
      try {
        await this.settleOldest();
      } catch {
        // The first failure is the one to tell; this chunk is simply not confirmed.
      }
    }
  }
}
