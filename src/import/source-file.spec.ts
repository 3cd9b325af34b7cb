import fc from 'fast-check';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { readLines, type Line } from '../platform/runtime/line-splitter';
import { openSource } from './source-file';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'import-source-'));
});

afterAll(() => rm(folder, { recursive: true }));

async function* piecesOf(pieces: Buffer[]): AsyncGenerator<Buffer> {
  for (const piece of pieces) {
    await Promise.resolve();
    yield piece;
  }
}

async function collect(source: AsyncIterable<Buffer>, maxLineBytes = 1e6): Promise<Line[]> {
  const lines: Line[] = [];
  for await (const line of readLines(source, maxLineBytes)) lines.push(line);
  return lines;
}

async function opened(content: Buffer) {
  const path = join(folder, 'source');
  await writeFile(path, content);
  return openSource(path, new AbortController().signal);
}

describe('readLines', () => {
  it('gives the lines of the content whatever its pieces are', async () => {
    const piece = fc.string({ unit: fc.constantFrom('a', 'é', '\n', '\r', ' ') });
    await fc.assert(
      fc.asyncProperty(fc.array(piece), async (pieces) => {
        const lines = await collect(piecesOf(pieces.map((text) => Buffer.from(text))));
        const all = pieces.join('').split('\n');
        const expected = all.flatMap((text, index) => (text === '' ? [] : [[index + 1, text]]));
        expect(lines.map(({ number, bytes }) => [number, bytes.toString()])).toEqual(expected);
      }),
    );
  });

  it('lets go of a line beyond the limit and goes on with the next', async () => {
    const pieces = ['ab\nlong', 'x'.repeat(5000), 'x'.repeat(5000), 'end\n12345678\n'];
    const lines = await collect(piecesOf(pieces.map((text) => Buffer.from(text))), 8);
    expect(lines.map(({ number, isTooLong }) => [number, isTooLong])).toEqual([
      [1, false],
      [2, true],
      [3, false],
    ]);
    expect(lines[1]?.bytes.toString()).toBe('long'.padEnd(1024, 'x'));
  });
});

describe('openSource', () => {
  const text = Array.from({ length: 30_000 }, (_, index) => `line ${index} ${'é'.repeat(20)}`);

  it.each<[string, (content: Buffer) => Buffer]>([
    ['plain', (content) => content],
    ['gzip', (content) => gzipSync(content)],
    [
      'gzip of several members',
      (content) =>
        Buffer.concat([content.subarray(0, 7), content.subarray(7)].map((part) => gzipSync(part))),
    ],
    [
      'gzip whose members end where a read does',
      (content) => {
        const first = gzipSync(content.subarray(0, 1000));
        // A comment field (FLG bit 4) pads the first member to exactly one read of 256 KiB.
        const padding = Buffer.alloc(256 * 1024 - first.length, 'x');
        padding[padding.length - 1] = 0;
        const header = Buffer.from(first.subarray(0, 10));
        header[3] = 0x10;
        return Buffer.concat([
          header,
          padding,
          first.subarray(10),
          gzipSync(content.subarray(1000)),
        ]);
      },
    ],
  ])('reads %s', async (_, pack) => {
    const packed = pack(Buffer.from(text.join('\n')));
    const source = await opened(packed);
    const lines = await collect(source.content);
    expect(lines.map(({ bytes }) => bytes.toString())).toEqual(text);
    expect(source.bytesRead()).toBe(packed.length);
    expect(source.sizeBytes).toBe(packed.length);
  });

  it.each(['', '\n', 'a', '\u001f'])('reads the tiny content %j', async (content) => {
    const lines = await collect((await opened(Buffer.from(content))).content);
    expect(lines.map(({ bytes }) => bytes.toString())).toEqual(
      content.trim() === '' ? [] : [content],
    );
  });

  it('ends with an error, packed or not, when its signal aborts', async () => {
    for (const content of [Buffer.alloc(2_000_000, '\n'), gzipSync(randomBytes(2_000_000))]) {
      const stop = new AbortController();
      const path = join(folder, 'stopped');
      await writeFile(path, content);
      const { content: read } = await openSource(path, stop.signal);
      const drain = async () => {
        for await (const chunk of read) if (chunk.length > 0) stop.abort();
      };
      await expect(drain()).rejects.toThrow(/abort/);
    }
  });

  it('refuses a folder', async () => {
    await expect(openSource(folder, new AbortController().signal)).rejects.toThrow(/directory/);
  });
});
