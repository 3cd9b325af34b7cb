import { LRUCache } from 'lru-cache';
import { wallClockMs } from '../platform/runtime/clocks';
import type { Principal } from './principal';

/** The principal of a verified token, and from when until when the token is valid. */
export interface VerifiedToken {
  principal: Principal;
  /** By the wall clock, in milliseconds since 1970, as in the token. */
  notBeforeMs: number;
  notAfterMs: number;
  /** Until when the keys that verified it are trusted, on the clock of performance.now(). */
  trustedUntilMs: number;
}

/** Bytes of an entry beside its texts: slots, the principal and its sets. */
const ENTRY_BYTES = 600;
/** Bytes of a scope or an organization beside its text: a slot and the header of a string. */
const NAME_BYTES = 60;

/**
 * Tokens that were verified before, the least recently used dropped first. Bounded in entries and in bytes, with what is
 * made of a token: 16 KiB of short scopes take 400 kB as a set. Only successes are kept: what failed may be valid with the
 * keys of the next minute, and failures would let strangers push out the tokens in use.
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

  /** Keeps a verified token; not one that takes more than all may together. */
  set(token: string, entry: VerifiedToken): void {
    this.entries.set(token, entry);
  }

  /** Drops all of them: the keys that verified them may be gone. */
  clear(): void {
    this.entries.clear();
  }
}

/** Bytes of a token with its principal: its own characters are ASCII, those of claims may have two bytes. */
function bytesOf(token: string, { principal }: VerifiedToken): number {
  const { subject, scopes, organizations } = principal;
  let bytes = ENTRY_BYTES + token.length + 2 * subject.length;
  for (const scope of scopes) bytes += NAME_BYTES + 2 * scope.length;
  if (organizations === '*') return bytes;
  for (const id of organizations) bytes += NAME_BYTES + 2 * id.length;
  return bytes;
}
