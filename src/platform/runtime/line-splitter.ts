import { ByteCollector } from './byte-collector';

export interface Line {
  /** Counted from 1, empty lines included. */
  number: number;
  bytes: Buffer;
  /** True beyond the limit: `bytes` is the beginning. */
  isTooLong: boolean;
}

const LINE_FEED = 0x0a;

/** Bytes kept of a line that is too long, to identify it. */
const KEPT_OF_LONG_LINE_BYTES = 1024;

/**
 * Splits bytes into lines; holds one unfinished line of at most `maxLineBytes`. Empty lines are skipped at memory
 * speed: a compressed body can hold a thousand of them a byte. Blanks, carriage returns and byte-order marks are left
 * to the caller.
 */
export class LineSplitter {
  private readonly pending: PendingLine;
  private number = 0;

  constructor(maxLineBytes: number) {
    this.pending = new PendingLine(maxLineBytes);
  }

  get lastNumber(): number {
    return this.number;
  }

  /** Lines that end in this part; their bytes may be those of the part. */
  *split(part: Buffer): Generator<Line> {
    let from = 0;
    for (;;) {
      if (this.pending.isEmpty) {
        while (part[from] === LINE_FEED) {
          this.number += 1;
          from += 1;
        }
      }
      const end = part.indexOf(LINE_FEED, from);
      if (end === -1) break;
      this.number += 1;
      yield { number: this.number, ...this.pending.finish(part.subarray(from, end)) };
      from = end + 1;
    }
    this.pending.add(part.subarray(from));
  }

  /** The last line, when it has no line break. */
  end(): Line | undefined {
    if (this.pending.isEmpty) return undefined;
    this.number += 1;
    return { number: this.number, ...this.pending.finish(Buffer.alloc(0)) };
  }
}

/** Splits a stream into lines without empty ones. */
export async function* readLines(
  source: AsyncIterable<Buffer>,
  maxLineBytes: number,
): AsyncGenerator<Line> {
  const lines = new LineSplitter(maxLineBytes);
  for await (const chunk of source) yield* lines.split(chunk);
  const last = lines.end();
  if (last) yield last;
}

class PendingLine {
  private readonly kept = new ByteCollector();
  /** Length of the line so far, kept or not. */
  private bytes = 0;

  constructor(private readonly maxBytes: number) {}

  get isEmpty(): boolean {
    return this.bytes === 0;
  }

  add(part: Buffer): void {
    if (part.length === 0) return;
    const wasWithin = this.bytes <= this.maxBytes;
    this.bytes += part.length;
    if (this.bytes <= this.maxBytes) this.kept.add(part);
    else if (wasWithin) this.keepBeginning(part);
  }

  finish(lastPart: Buffer): Omit<Line, 'number'> {
    const isWhole = this.isEmpty && lastPart.length <= this.maxBytes;
    if (isWhole) return { bytes: lastPart, isTooLong: false };
    this.add(lastPart);
    const isTooLong = this.bytes > this.maxBytes;
    this.bytes = 0;
    return { bytes: this.kept.take(), isTooLong };
  }

  private keepBeginning(part: Buffer): void {
    const missing = Math.max(0, KEPT_OF_LONG_LINE_BYTES - this.kept.length);
    this.kept.add(part.subarray(0, missing));
    const beginning = this.kept.take().subarray(0, KEPT_OF_LONG_LINE_BYTES);
    this.kept.add(beginning);
  }
}
