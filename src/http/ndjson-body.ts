import type { IncomingMessage } from 'node:http';
import type { Readable, Transform } from 'node:stream';
import { expectLongBody } from './connection-state';
import { decompressorFor } from './content-coding';

const NDJSON = /^application\/(?:x-)?ndjson\s*(?:;\s*charset\s*=\s*"?utf-?8"?\s*)?$/i;

/** Whether a body is announced as one JSON value a line. */
export function isNdjson(contentType: string | undefined): boolean {
  return contentType !== undefined && NDJSON.test(contentType.trim());
}

/** The decoded bytes of a body of any length, no faster than they are taken. */
export class NdjsonBody {
  private readonly decoder: Transform | undefined;
  private readonly decoded: Readable;
  private isAtEnd = false;
  private broken = false;

  /**
   * `onChange` is told when there may be more to read, or never will be. A client that leaves is not told of here.
   * @throws AppError UNSUPPORTED_MEDIA_TYPE for a coding that nobody here knows.
   */
  constructor(
    private readonly request: IncomingMessage,
    onChange: () => void,
  ) {
    this.decoder = decompressorFor(request.headers['content-encoding'])?.();
    this.decoded = this.decoder ? request.pipe(this.decoder) : request;
    expectLongBody(request);
    request.on('error', () => undefined); // that of a client who leaves
    this.decoder?.on('error', () => {
      this.broken = true;
      onChange();
    });
    this.decoded.on('readable', onChange).on('end', () => {
      this.isAtEnd = true;
      onChange();
    });
  }

  /** Whether all of it has been read. */
  get isEnded(): boolean {
    return this.isAtEnd;
  }

  /** Whether it is not what Content-Encoding says, from behind what has been read on. */
  get isBroken(): boolean {
    return this.broken;
  }

  /** What has come since the last time; undefined when that is nothing. */
  read(): Buffer | undefined {
    return (this.decoded.read() as Buffer | null) ?? undefined;
  }

  /** Lets the rest go by unread, so that a client who sends first and reads then comes to its answer. */
  discard(): void {
    if (this.decoder) {
      this.request.unpipe(this.decoder);
      this.decoder.destroy();
    }
    this.request.resume();
  }
}
