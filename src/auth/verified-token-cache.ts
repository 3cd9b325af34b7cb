import { LRUCache } from 'lru-cache';
import { wallClockMs } from '../platform/runtime/clocks';
import type { Principal } from './principal';

/** Principal and validity of a verified token. */
export interface VerifiedToken {
  principal: Principal;
  /** Wall clock, in milliseconds since 1970, as in the token. */
  notBeforeMs: number;
  notAfterMs: number;
  /** End of trust in the keys, on the clock of performance.now(). */
  trustedUntilMs: number;
}

/** Bytes of an entry beside its texts: slots, the principal and its sets. */
const ENTRY_BYTES = 600;
/** Bytes of a scope or organization beside its text: a slot and a string's header. */
const NAME_BYTES = 60;

/**
 * Verified tokens, the least recently used dropped first. Bounded in entries and bytes: 16 KiB of short scopes take 400
 * kB as a set. Failures are not kept: the token may be valid with the next keys, and strangers could evict tokens in
 * use.
 */
export class VerifiedTokenCache {
  private readonly entries: LRUCache<string, VerifiedToken>;

  constructor(maxEntries = 10_000, maxBytes = 16 * 1024 * 1024) {
    this.entries = new LRUCache({
      max: maxEntries,
      maxSize: maxBytes,
      sizeCalculation: (entry, token) => bytesOf(token, entry),
    });
  }

  get size(): number {
    return this.entries.size;
  }

  get sizeBytes(): number {
    return this.entries.calculatedSize;
  }

  get(token: string): Principal | undefined {
    const entry = this.entries.get(token);
    if (entry === undefined) return undefined;
    const nowMs = wallClockMs();
    const isValid = nowMs < entry.notAfterMs && nowMs >= entry.notBeforeMs;
    if (isValid && performance.now() < entry.trustedUntilMs) return entry.principal;
    this.entries.delete(token);
    return undefined;
  }

  /** Keeps an entry, unless it exceeds the limit of all. */
  set(token: string, entry: VerifiedToken): void {
    this.entries.set(token, entry);
  }

  clear(): void {
    this.entries.clear();
  }
}

/** Token characters are ASCII; claims may take two bytes a character. */
function bytesOf(token: string, { principal }: VerifiedToken): number {
  const { subject, issuer = '', tenant = '', scopes, organizations } = principal;
  let bytes = ENTRY_BYTES + token.length + 2 * (subject.length + issuer.length + tenant.length);
  for (const scope of scopes) bytes += NAME_BYTES + 2 * scope.length;
  if (organizations === '*') return bytes;
  for (const id of organizations) bytes += NAME_BYTES + 2 * id.length;
  return bytes;
}
