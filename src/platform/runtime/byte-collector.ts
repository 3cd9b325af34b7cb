/** Sizes of the first and of the largest block for small parts. */
const [FIRST_BLOCK_BYTES, BLOCK_BYTES] = [1024, 16 * 1024];

/**
 * Collects bytes in parts. Small parts are copied into blocks: a sender may send single bytes, and an object for each
 * takes some 200 bytes. Memory is at most the bytes, a block, and the objects of one block for each 16 KiB.
 */
export class ByteCollector {
  private blocks: Buffer[] = [];
  private open: Buffer | undefined;
  private used = 0;
  private bytes = 0;

  /** Bytes since the start, or since `take`. */
  get length(): number {
    return this.bytes;
  }

  /** Adds a part, which must not be changed afterwards. */
  add(part: Buffer): void {
    this.bytes += part.length;
    if (part.length >= BLOCK_BYTES) {
      this.closeBlock();
      this.blocks.push(part);
      return;
    }
    for (let at = 0; at < part.length;) {
      this.open ??= Buffer.allocUnsafe(
        Math.min(BLOCK_BYTES, Math.max(FIRST_BLOCK_BYTES, this.bytes)),
      );
      const copied = part.copy(this.open, this.used, at);
      at += copied;
      this.used += copied;
      if (this.used === this.open.length) this.closeBlock();
    }
  }

  /** Returns all bytes in one piece and empties the collector. */
  take(): Buffer {
    this.closeBlock();
    const [only] = this.blocks;
    const all = this.blocks.length === 1 && only ? only : Buffer.concat(this.blocks, this.bytes);
    this.blocks = [];
    this.bytes = 0;
    return all;
  }

  private closeBlock(): void {
    if (!this.open) return;
    // A copy releases the unused rest of the block.
    const isFull = this.used === this.open.length;
    this.blocks.push(isFull ? this.open : Buffer.from(this.open.subarray(0, this.used)));
    this.open = undefined;
    this.used = 0;
  }
}
