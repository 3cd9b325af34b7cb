import type { IncomingMessage } from 'node:http';
import type { Readable, Transform } from 'node:stream';
import { requireUtf8 } from './body-reader';
import { expectLongBody } from './connection-state';
import { decompressorFor } from './content-coding';

/** Media types of the one format: JSON Lines is NDJSON under another name. */
const NDJSON = /^application\/(?:x-)?(?:ndjson|jsonl|jsonlines)\s*(?:;|$)/i;

export function isNdjson(contentType: string | undefined): boolean {
  return contentType !== undefined && NDJSON.test(contentType.trim());
}

/** Decompressed bytes of an unbounded body, read at the speed of their use. */
export class NdjsonBody {
  private readonly decoder: Transform | undefined;
  private readonly decoded: Readable;
  private isAtEnd = false;
  private broken = false;

  /**
   * `onChange` is called on data and at the end, not at a disconnect.
   * @throws AppError UNSUPPORTED_MEDIA_TYPE for an unknown coding, or a charset other than UTF-8.
   */
  constructor(
    private readonly request: IncomingMessage,
    onChange: () => void,
  ) {
    requireUtf8(request.headers['content-type']);
    this.decoder = decompressorFor(request.headers['content-encoding'])?.();
    this.decoded = this.decoder ? request.pipe(this.decoder) : request;
    expectLongBody(request);
    request.on('error', () => undefined); // of a client that disconnects
    this.decoder?.on('error', () => {
      this.broken = true;
      onChange();
    });
    this.decoded.on('readable', onChange).on('end', () => {
      this.isAtEnd = true;
      onChange();
    });
  }

  get isEnded(): boolean {
    return this.isAtEnd;
  }

  /** True when the rest is not in the coding of Content-Encoding. */
  get isBroken(): boolean {
    return this.broken;
  }

  /** Bytes since the last call, or undefined. */
  read(): Buffer | undefined {
    return (this.decoded.read() as Buffer | null) ?? undefined;
  }

  /** Discards the rest, for clients that read only after they have sent all. */
  discard(): void {
    if (this.decoder) {
      this.request.unpipe(this.decoder);
      this.decoder.destroy();
    }
    this.request.resume();
  }
}
