import { createHash } from 'node:crypto';

/**
 * A UUID (version 8, RFC 9562: 122 bits of a SHA-256) of these parts, the same each time, so that what is sent or imported
 * again is the same event.
 */
export function derivedUuid(parts: readonly string[]): string {
  const hash = createHash('sha256');
  // The lengths keep ['ab', 'c'] and ['a', 'bc'] apart.
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  const bytes = hash.digest().subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
