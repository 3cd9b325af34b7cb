const FIRST_BYTES = 64 * 1024;

/** Growing buffer of one write; a taken chunk never changes. */
export class ChunkBuffer {
  private bytes = Buffer.allocUnsafeSlow(FIRST_BYTES);
  private used = 0;

  get length(): number {
    return this.used;
  }

  append(part: Buffer, end = part.length): void {
    const wanted = this.used + end;
    if (wanted > this.bytes.length) this.grow(wanted);
    part.copy(this.bytes, this.used, 0, end);
    this.used = wanted;
  }

  /** Bytes since the last call. */
  take(): Buffer {
    const taken = this.bytes.subarray(0, this.used);
    // The next chunk is probably about as long as this one.
    this.bytes = Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, this.used + (this.used >> 3)));
    this.used = 0;
    return taken;
  }

  private grow(wanted: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(wanted, 2 * this.bytes.length));
    this.bytes.copy(larger, 0, 0, this.used);
    this.bytes = larger;
  }
}
