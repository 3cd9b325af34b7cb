import { open, type FileHandle } from 'node:fs/promises';
import type { Chunk, RefusedLine } from './record-reader';
import type { ChunkResult, ChunkSender } from './chunk-sender';

export interface ImportTally {
  /** Lines read, without blank ones. */
  read: number;
  /** Of them, those that are a part of the record of another line. */
  joined: number;
  created: number;
  duplicates: number;
  refused: number;
  seconds: number;
}

/**
 * Refused records as NDJSON, `{"line":3,"reason":["..."],"record":"<the line as it was>"}`, with `file` when there are
 * several and `element` in a JSON document. The first one creates the file, or replaces an older one.
 */
export class RefusedFile {
  private file: FileHandle | undefined;

  constructor(private readonly path: string) {}

  async write(lines: readonly RefusedLine[]): Promise<void> {
    if (lines.length === 0) return;
    this.file ??= await open(this.path, 'w');
    const text = lines
      .map(
        ({ file, line, element, reason, record }) =>
          `${JSON.stringify({ file, line, element, reason, record })}\n`,
      )
      .join('');
    await this.file.appendFile(text);
  }

  async close(): Promise<void> {
    await this.file?.close();
  }
}

type Settled = { result: ChunkResult } | { error: unknown };

/** One import from the first chunk to the last response. Holds at most `concurrency` + 1 chunks. */
export class ImportRun {
  private readonly startedAtMs = performance.now();
  private readonly counts = { read: 0, joined: 0, created: 0, duplicates: 0, refused: 0 };
  private readonly underWay: Promise<Settled>[] = [];

  /** An abort of `stop` ends the import early; requests under way are awaited and counted. */
  constructor(
    private readonly sender: ChunkSender,
    private readonly refusedFile: RefusedFile,
    private readonly concurrency: number,
    private readonly stop: AbortController,
    private readonly onProgress: (tally: ImportTally) => void,
  ) {}

  get tally(): ImportTally {
    return { ...this.counts, seconds: (performance.now() - this.startedAtMs) / 1000 };
  }

  /**
   * Throws what stopped it (ImportStopped, a read error, an AbortError after `stop`) after every request under way is
   * settled and counted: the tally is true either way.
   */
  async run(chunks: AsyncIterable<Chunk>): Promise<void> {
    try {
      for await (const chunk of chunks) {
        while (this.underWay.length >= this.concurrency) await this.settleOldest();
        this.stop.signal.throwIfAborted();
        for (const { lines = 1 } of [...chunk.events, ...chunk.refused]) {
          this.counts.read += lines;
          this.counts.joined += lines - 1;
        }
        this.underWay.push(this.send(chunk));
      }
      while (this.underWay.length > 0) await this.settleOldest();
    } catch (error) {
      this.stop.abort();
      // The first failure is the one to report.
      while (this.underWay.length > 0) await this.settleOldest().catch(() => undefined);
      throw error;
    }
  }

  /** A failure that is not awaited yet must not count as unhandled. */
  private send(chunk: Chunk): Promise<Settled> {
    return this.sender.send(chunk).then(
      (result) => ({ result }),
      (error: unknown) => ({ error }),
    );
  }

  /** In the order of the file, and so of the refused file. */
  private async settleOldest(): Promise<void> {
    const settled = await this.underWay.shift();
    if (settled === undefined) return;
    if ('error' in settled) throw settled.error;
    const { created, duplicates, refused } = settled.result;
    this.counts.created += created;
    this.counts.duplicates += duplicates;
    this.counts.refused += refused.length;
    await this.refusedFile.write(refused);
    this.onProgress(this.tally);
  }
}
