/** What each read of a socket costs beside its bytes, and each frame: an object that holds them. */
const CHUNK_COST_BYTES = 256;
/** Of a frame that a client sends, before what it carries (RFC 6455, section 5.2): two bytes and the mask at least. */
const FRAME_BYTES = 6;

/**
 * How much of a message that is not whole yet is held for a WebSocket, by what has come over its connection: the parser
 * of frames keeps parts until they are a message and tells nothing of them, and a client may send them in frames and
 * segments of one byte each.
 */
export class UnfinishedMessage {
  private bytes = 0;
  private chunks = 0;
  private lastChunkBytes = 0;

  /** Bytes of memory that it takes. */
  get cost(): number {
    return this.bytes + CHUNK_COST_BYTES * this.chunks;
  }

  /** Notes what has been read from the connection, before it is parsed. */
  add(chunkBytes: number): void {
    this.bytes += chunkBytes;
    this.chunks += 1;
    this.lastChunkBytes = chunkBytes;
  }

  /** Notes that a message of so many bytes is whole: what is left can only have come with the last chunk. */
  finish(messageBytes: number): void {
    const left = Math.max(0, this.bytes - messageBytes - FRAME_BYTES);
    this.bytes = Math.min(left, this.lastChunkBytes);
    this.chunks = this.bytes > 0 ? 1 : 0;
  }

  /** Notes a ping or pong, which may come between the frames of a message. */
  passControl(payloadBytes: number): void {
    this.bytes = Math.max(0, this.bytes - payloadBytes - FRAME_BYTES);
    this.chunks = Math.max(0, this.chunks - 1);
  }
}
