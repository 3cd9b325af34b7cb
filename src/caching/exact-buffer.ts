/**
 * A buffer that owns its memory, for bytes that are kept: a slice of Node's shared pool or of a zlib chunk keeps 8 or
 * 16 kB alive for the sake of a few bytes, and no count of bytes would tell.
 */
export function exactBuffer(bytes: string | Buffer): Buffer {
  if (typeof bytes !== 'string' && bytes.length === bytes.buffer.byteLength) return bytes;
  const buffer = Buffer.allocUnsafeSlow(Buffer.byteLength(bytes));
  if (typeof bytes === 'string') buffer.write(bytes);
  else bytes.copy(buffer);
  return buffer;
}
