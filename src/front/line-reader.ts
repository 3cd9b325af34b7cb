/** One line of the source, without its line break. */
export interface Line {
  /** Counted from 1; blank lines count too. */
  number: number;
  bytes: Buffer;
  /** The line was longer than the limit: `bytes` is its beginning, the rest was read and let go. */
  isTooLong: boolean;
}

const LINE_FEED = 0x0a;

/** How much of a line that is too long is kept, to show which one it was. */
const KEPT_OF_LONG_LINE_BYTES = 1024;

/**
 * Cuts a stream of bytes into lines, holding no more than one line of at most `maxLineBytes`. The last line need not
 * end in a line break. Blanks, carriage returns and byte-order marks are the caller's concern.
 */
export async function* readLines(
  source: AsyncIterable<Buffer>,
  maxLineBytes: number,
): AsyncGenerator<Line> {
  const pending = new PendingLine(maxLineBytes);
  let number = 0;
  for await (const chunk of source) {
    let from = 0;
    let end = chunk.indexOf(LINE_FEED);
    while (end !== -1) {
      number += 1;
      yield { number, ...pending.finish(chunk.subarray(from, end)) };
      from = end + 1;
      end = chunk.indexOf(LINE_FEED, from);
    }
    pending.add(chunk.subarray(from));
  }
  if (!pending.isEmpty) yield { number: number + 1, ...pending.finish(Buffer.alloc(0)) };
}

/** The beginning of a line whose end has not been read yet. */
class PendingLine {
  private parts: Buffer[] = [];
  private bytes = 0;

  constructor(private readonly maxBytes: number) {}

  get isEmpty(): boolean {
    return this.bytes === 0;
  }

  add(part: Buffer): void {
    if (part.length === 0) return;
    const wasWithin = this.bytes <= this.maxBytes;
    this.bytes += part.length;
    if (this.bytes <= this.maxBytes) this.parts.push(part);
    else if (wasWithin) this.parts = [this.beginning([...this.parts, part])];
  }

  finish(lastPart: Buffer): Omit<Line, 'number'> {
    this.add(lastPart);
    const isTooLong = this.bytes > this.maxBytes;
    const [only] = this.parts;
    const bytes = this.parts.length === 1 && only ? only : Buffer.concat(this.parts);
    this.parts = [];
    this.bytes = 0;
    return { bytes, isTooLong };
  }

  private beginning(parts: Buffer[]): Buffer {
    return Buffer.from(Buffer.concat(parts).subarray(0, KEPT_OF_LONG_LINE_BYTES));
  }
}
