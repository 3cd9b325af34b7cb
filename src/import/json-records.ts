import { ByteCollector } from '../platform/runtime/byte-collector';
import type { RawRecord } from './raw-record';

const [QUOTE, BACKSLASH, COMMA, LINE_FEED] = [0x22, 0x5c, 0x2c, 0x0a];
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];
const SPACE = 0x20;
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];
/** Bytes kept of a record that is too long, to identify it. */
const KEPT_BYTES = 1024;
/** Limit of a member's name that is compared with those of lists. */
const MAX_NAME_BYTES = 64;

/**
 * Splits JSON into records: the elements of an outermost array, those of an outermost object's list with one of these
 * names (`{"Records":[…]}`), else the outermost values, one after the other. They may be of several lines. Holds one
 * record of at most `maxBytes`. Scans brackets and strings alone: each record is parsed by its reader.
 */
export class JsonRecordSplitter {
  /** Open brackets, of records too. */
  private depth = 0;
  /** Brackets around the records. */
  private frame: 'none' | 'list' | 'member' = 'none';
  private hadList = false;
  private isInString = false;
  private isEscaped = false;
  /** Undefined between records. */
  private record:
    { kept: ByteCollector; bytes: number; line: number; isScalar: boolean } | undefined;
  /** Of an outermost object that may be the frame: the string at its first level, and the one before a colon. */
  private text: number[] | undefined;
  private name: string | undefined;
  private hasColon = false;
  private line = 1;
  private count = 0;
  private offset = 0;

  constructor(
    private readonly maxBytes: number,
    private readonly lists: readonly string[],
  ) {}

  /** True from the beginning of a list of records on. */
  get hasList(): boolean {
    return this.hadList;
  }

  get isInside(): boolean {
    return this.depth > 0;
  }

  *split(part: Buffer): Generator<RawRecord> {
    let from = 0;
    for (let at = 0; at < part.length; at += 1) {
      const byte = part[at] ?? 0;
      if (byte === LINE_FEED) this.line += 1;
      if (this.record === undefined) {
        if (this.skips(byte)) continue;
        this.begin(byte);
        from = at;
      }
      const end = this.scan(byte);
      if (end === 'list') this.record = undefined;
      else if (end === 'after' || end === 'before') {
        const upTo = end === 'after' ? at + 1 : at;
        yield this.finish(part.subarray(from, upTo));
        if (end === 'before') this.leave(byte);
      }
    }
    if (this.record) this.keep(part.subarray(from));
    this.offset += part.length;
  }

  /** The last record. @throws Error when the content ends inside its list. */
  end(): RawRecord | undefined {
    if (this.frame !== 'none') {
      throw new Error(
        `the content ends inside its list, after ${this.count} elements, in line ${this.line}`,
      );
    }
    return this.record && this.finish(Buffer.alloc(0));
  }

  private get base(): number {
    return this.frame === 'none' ? 0 : this.frame === 'list' ? 1 : 2;
  }

  /** Whether a byte between records belongs to none. */
  private skips(byte: number): boolean {
    if (byte <= SPACE || byte === COMMA) return true;
    if (this.offset === 0 && this.count === 0 && BYTE_ORDER_MARK.includes(byte)) return true;
    if (this.frame === 'none' && this.depth === 0 && byte === OPEN_LIST) {
      this.frame = 'list';
      this.hadList = true;
      this.depth = 1;
      return true;
    }
    return byte === CLOSE_LIST && this.leave(byte);
  }

  /** Ends the list; the rest of the object around it is a record of its own, which is dropped at its end. */
  private leave(byte: number): boolean {
    if (byte !== CLOSE_LIST || this.frame === 'none') return false;
    const wasMember = this.frame === 'member';
    this.frame = 'none';
    this.depth = wasMember ? 1 : 0;
    if (wasMember) {
      this.record = { kept: new ByteCollector(), bytes: -1, line: this.line, isScalar: false };
    }
    return true;
  }

  private begin(byte: number): void {
    const isScalar = byte !== OPEN_OBJECT && byte !== OPEN_LIST;
    this.record = { kept: new ByteCollector(), bytes: 0, line: this.line, isScalar };
    this.name = undefined;
    this.hasColon = false;
  }

  /** Follows a byte of a record: its end is after or before this byte, or a list with records begins. */
  private scan(byte: number): 'after' | 'before' | 'list' | undefined {
    if (this.isInString) {
      this.scanString(byte);
      const isOver = !this.isInString && this.record?.isScalar && this.depth === this.base;
      return isOver ? 'after' : undefined;
    }
    if (byte === QUOTE) {
      this.isInString = true;
      this.text = this.mayBeFrame() ? [] : undefined;
      return undefined;
    }
    if (this.record?.isScalar && this.depth === this.base) {
      const isOver = byte <= SPACE || byte === COMMA || byte === CLOSE_LIST;
      return isOver ? 'before' : undefined;
    }
    if (byte === OPEN_LIST && this.opensRecords()) {
      this.frame = 'member';
      this.hadList = true;
      this.depth = 2;
      return 'list';
    }
    if (byte === OPEN_OBJECT || byte === OPEN_LIST) this.depth += 1;
    else if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) {
      this.depth -= 1;
      if (this.depth === this.base) return this.record?.bytes === -1 ? 'list' : 'after';
    } else if (byte > SPACE && this.depth === 1) {
      this.hasColon = byte === 0x3a;
      if (!this.hasColon) this.name = undefined;
    }
    return undefined;
  }

  private scanString(byte: number): void {
    if (this.isEscaped) this.isEscaped = false;
    else if (byte === BACKSLASH) this.isEscaped = true;
    else if (byte === QUOTE) {
      this.isInString = false;
      if (this.text) this.name = Buffer.from(this.text).toString();
      this.hasColon = false;
      return;
    }
    if (this.text && this.text.length < MAX_NAME_BYTES) this.text.push(byte);
  }

  private mayBeFrame(): boolean {
    return this.lists.length > 0 && this.frame === 'none' && this.depth === 1;
  }

  private opensRecords(): boolean {
    return (
      this.mayBeFrame() &&
      this.hasColon &&
      this.name !== undefined &&
      this.lists.includes(this.name)
    );
  }

  private keep(part: Buffer): void {
    const { record, maxBytes } = this;
    if (!record || record.bytes === -1) return;
    record.bytes += part.length;
    if (record.bytes <= maxBytes) record.kept.add(part);
    else if (record.kept.length < KEPT_BYTES) record.kept.add(part.subarray(0, KEPT_BYTES));
  }

  private finish(part: Buffer): RawRecord {
    this.keep(part);
    const { kept, bytes, line } = this.record ?? { kept: new ByteCollector(), bytes: 0, line: 0 };
    this.record = undefined;
    this.count += 1;
    const isTooLong = bytes > this.maxBytes;
    const all = kept.take();
    return {
      number: line,
      element: this.count,
      bytes: isTooLong ? all.subarray(0, KEPT_BYTES) : all,
      isTooLong,
    };
  }
}

/** Splits a stream of JSON into records. @throws Error when it ends inside a list. */
export async function* readJsonRecords(
  source: AsyncIterable<Buffer>,
  maxBytes: number,
  lists: readonly string[],
): AsyncGenerator<RawRecord> {
  const records = new JsonRecordSplitter(maxBytes, lists);
  for await (const part of source) yield* records.split(part);
  const last = records.end();
  if (last) yield last;
}
