import { open, type FileHandle } from 'node:fs/promises';
import type { RefusedLine } from './record-reader';

/**
 * Where refused lines go: NDJSON, `{"line":3,"reason":["..."],"record":"<the line as it was>"}`. The file is made, and
 * an older one replaced, with the first refused line; an import without one leaves no file.
 */
export class RefusedFile {
  private file: FileHandle | undefined;

  constructor(readonly path: string) {}

  async write(lines: readonly RefusedLine[]): Promise<void> {
    if (lines.length === 0) return;
    this.file ??= await open(this.path, 'w');
    const text = lines
      .map(({ line, reason, record }) => `${JSON.stringify({ line, reason, record })}\n`)
      .join('');
    await this.file.appendFile(text);
  }

  async close(): Promise<void> {
    await this.file?.close();
  }
}
