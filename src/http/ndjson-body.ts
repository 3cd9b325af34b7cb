import type { IncomingMessage } from 'node:http';
import type { Readable, Transform } from 'node:stream';
import { requireUtf8 } from './body-reader';
import { expectLongBody } from './connection-state';
import { decompressorFor } from './content-coding';

/** Media types of NDJSON, which is also named JSON Lines. */
const NDJSON = /^application\/(?:x-)?(?:ndjson|jsonl|jsonlines)\s*(?:;|$)/i;

export function isNdjson(contentType: string | undefined): boolean {
  return contentType !== undefined && NDJSON.test(contentType.trim());
}

/** Body of any length, decompressed as fast as its bytes are used. */
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
    request.on('error', () => undefined); // emitted when the client disconnects
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

  /** True when the body is not in the coding that Content-Encoding names. */
  get isBroken(): boolean {
    return this.broken;
  }

  /** Returns the bytes that arrived since the last call; undefined for none. */
  read(): Buffer | undefined {
    return (this.decoded.read() as Buffer | null) ?? undefined;
  }

  /** Discards the rest of the body, as some clients read the response only after they have sent everything. */
  discard(): void {
    if (this.decoder) {
      this.request.unpipe(this.decoder);
      this.decoder.destroy();
    }
    this.request.resume();
  }
}
