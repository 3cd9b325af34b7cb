import { ByteCollector } from '../platform/runtime/byte-collector';
import type { Line } from '../platform/runtime/line-splitter';

const [QUOTE, LINE_FEED] = [0x22, 0x0a];
/** Bytes kept of a row that is too long, to identify it. */
const KEPT_BYTES = 1024;

/** Splits bytes into rows of CSV: a line break in a quoted cell ends none. `number` is the first line of a row. */
export class CsvRowSplitter {
  private state: 'start' | 'plain' | 'quoted' | 'quote' = 'start';
  private row = new ByteCollector();
  private bytes = 0;
  private line = 1;
  private firstLine = 1;
  private readonly delimiter: number;

  constructor(
    delimiter: string,
    private readonly maxBytes: number,
  ) {
    this.delimiter = delimiter.charCodeAt(0);
  }

  *split(part: Buffer): Generator<Line> {
    let from = 0;
    for (let at = 0; at < part.length; at += 1) {
      const byte = part[at] ?? 0;
      if (byte === LINE_FEED) this.line += 1;
      if (this.state === 'quoted') {
        if (byte === QUOTE) this.state = 'quote';
        continue;
      }
      if (byte === LINE_FEED) {
        yield this.finish(part.subarray(from, at));
        from = at + 1;
      } else if (byte === this.delimiter) this.state = 'start';
      else if (byte === QUOTE && this.state !== 'plain') this.state = 'quoted';
      else this.state = 'plain';
    }
    this.add(part.subarray(from));
  }

  /** The last row, when it has no line break. @throws Error when it ends inside a quoted cell. */
  end(): Line | undefined {
    if (this.state === 'quoted') {
      throw new Error(
        `the content ends inside a quoted cell of the row that begins in line ${this.firstLine}`,
      );
    }
    return this.bytes > 0 ? this.finish(Buffer.alloc(0)) : undefined;
  }

  private add(part: Buffer): void {
    this.bytes += part.length;
    if (this.bytes <= this.maxBytes) this.row.add(part);
    else if (this.row.length < KEPT_BYTES) this.row.add(part.subarray(0, KEPT_BYTES));
  }

  private finish(part: Buffer): Line {
    this.add(part);
    const isTooLong = this.bytes > this.maxBytes;
    const all = this.row.take();
    const bytes = isTooLong ? all.subarray(0, KEPT_BYTES) : all;
    const number = this.firstLine;
    this.bytes = 0;
    this.state = 'start';
    this.firstLine = this.line;
    return { number, bytes, isTooLong };
  }
}
