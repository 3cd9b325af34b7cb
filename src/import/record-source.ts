import { readLines } from '../platform/runtime/line-splitter';
import { beginsCsv, type CsvOptions, readCsvRecords } from './csv-records';
import { JsonRecordSplitter, readJsonRecords } from './json-records';
import type { RawRecord } from './raw-record';
import type { RecordFormat } from './record-formats';
import { openSource, type Source } from './source-file';

/** Bytes that tell lines from a document. */
const HEAD_BYTES = 64 * 1024;

/** Records of several files, one file after the other. */
export class RecordSource {
  private readonly opened: Source[] = [];

  constructor(
    private readonly files: readonly string[],
    private readonly format: RecordFormat,
    private readonly csv: CsvOptions,
    private readonly maxBytes: number,
    private readonly signal: AbortSignal,
  ) {}

  /** The part of the files that has been read; undefined when a size is unknown. */
  fraction(): number | undefined {
    const current = this.opened.at(-1);
    if (!current?.sizeBytes) return undefined;
    return (this.opened.length - 1 + current.bytesRead() / current.sizeBytes) / this.files.length;
  }

  /** @throws Error that names the file. */
  records(): AsyncIterable<RawRecord> {
    const { join } = this.format;
    return join ? join(this.separateRecords()) : this.separateRecords();
  }

  private async *separateRecords(): AsyncGenerator<RawRecord> {
    for (const file of this.files) {
      try {
        const source = await openSource(file, this.signal);
        this.opened.push(source);
        for await (const record of this.read(source.content)) {
          yield this.files.length > 1 ? { ...record, file } : record;
        }
      } catch (error) {
        if (this.signal.aborted || !(error instanceof Error)) throw error;
        const where = error.message.includes(file) ? '' : `${file}: `;
        throw new Error(`${where}${error.message}`, { cause: error });
      }
    }
  }

  private async *read(content: AsyncIterable<Buffer>): AsyncGenerator<RawRecord> {
    const parts = content[Symbol.asyncIterator]();
    const head: Buffer[] = [];
    let isWhole = false;
    for (let bytes = 0; bytes < HEAD_BYTES && !isWhole;) {
      const next = await parts.next();
      if (next.done) isWhole = true;
      else {
        head.push(next.value);
        bytes += next.value.length;
      }
    }
    const rest = prepended(head, { [Symbol.asyncIterator]: () => parts });
    const beginning = Buffer.concat(head).subarray(0, HEAD_BYTES);
    yield* this.recordsOf(rest, beginning);
  }

  private recordsOf(content: AsyncIterable<Buffer>, beginning: Buffer): AsyncIterable<RawRecord> {
    const { content: kind, lists } = this.format;
    const isCsv =
      kind === 'csv' || (kind === 'json or csv' && beginsCsv(beginning.toString('utf8')));
    if (isCsv && beginning.length > 0) {
      return readCsvRecords(content, beginning, this.maxBytes, this.csv);
    }
    const isDocument = kind !== 'lines' && beginsDocument(beginning.toString('latin1'), lists);
    return isDocument
      ? readJsonRecords(content, this.maxBytes, lists)
      : readLines(content, this.maxBytes);
  }
}

/**
 * Tells a JSON document from lines of JSON: it begins with an array, its first object has a list of records, or goes on
 * behind its first line with a member. A broken first line is still a line, which is refused alone.
 */
function beginsDocument(head: string, lists: readonly string[]): boolean {
  const text = head.replace(/^\u00ef\u00bb\u00bf/, '').trimStart();
  if (text.startsWith('[')) return true;
  if (!text.startsWith('{')) return false;
  const [first = '', ...others] = text.split('\n');
  const splitter = new JsonRecordSplitter(HEAD_BYTES, lists);
  for (const record of splitter.split(Buffer.from(first, 'latin1'))) void record;
  if (splitter.hasList) return true;
  const second = others.find((line) => line.trim() !== '')?.trimStart() ?? '';
  return splitter.isInside && (second.startsWith('"') || second.startsWith('}'));
}

async function* prepended(
  head: readonly Buffer[],
  rest: AsyncIterable<Buffer>,
): AsyncGenerator<Buffer> {
  yield* head;
  yield* rest;
}
