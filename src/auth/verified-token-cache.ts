import { wallClockMs } from '../platform/runtime/clocks';
import type { Principal } from './principal';

/** What a verified token stands for, and from when until when that holds. */
export interface VerifiedToken {
  principal: Principal;
  /** By the wall clock, in milliseconds since 1970: what the token says. */
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
 * Tokens that were verified before, the least recently used dropped first. Bounded in entries and in bytes, those of
 * what is made of a token counted: 16 KiB of short scopes take 400 kB as a set. Only successes are kept: what failed may be
 * valid with the keys of the next minute, and failures would let strangers push out the tokens in use.
 */
export class VerifiedTokenCache {
  private readonly entries = new Map<string, VerifiedToken>();
  private bytes = 0;

  constructor(
    private readonly maxEntries = 10_000,
    private readonly maxBytes = 16 * 1024 * 1024,
  ) {}

  /** How many tokens are kept. */
  get size(): number {
    return this.entries.size;
  }

  /** What they take, in bytes. */
  get sizeBytes(): number {
    return this.bytes;
  }

  /** The principal of a token that is known and valid at this moment. */
  get(token: string): Principal | undefined {
    const entry = this.entries.get(token);
    if (entry === undefined) return undefined;
    const nowMs = wallClockMs();
    this.delete(token);
    if (nowMs >= entry.notAfterMs || nowMs < entry.notBeforeMs) return undefined;
    if (performance.now() >= entry.trustedUntilMs) return undefined;
    this.insert(token, entry);
    return entry.principal;
  }

  /** Keeps a verified token. */
  set(token: string, entry: VerifiedToken): void {
    this.delete(token);
    this.insert(token, entry);
    for (const oldest of this.entries.keys()) {
      if (this.entries.size <= this.maxEntries && this.bytes <= this.maxBytes) break;
      this.delete(oldest);
    }
  }

  /** Drops all of them: the keys that verified them may be gone. */
  clear(): void {
    this.entries.clear();
    this.bytes = 0;
  }

  private insert(token: string, entry: VerifiedToken): void {
    this.entries.set(token, entry);
    this.bytes += bytesOf(token, entry);
  }

  private delete(token: string): void {
    const entry = this.entries.get(token);
    if (!entry) return;
    this.entries.delete(token);
    this.bytes -= bytesOf(token, entry);
  }
}

/** What a token takes with its principal: its own characters are ASCII, those of claims may have two bytes. */
function bytesOf(token: string, { principal }: VerifiedToken): number {
  const { subject, scopes, organizations } = principal;
  let bytes = ENTRY_BYTES + token.length + 2 * subject.length;
  for (const scope of scopes) bytes += NAME_BYTES + 2 * scope.length;
  if (organizations === '*') return bytes;
  for (const id of organizations) bytes += NAME_BYTES + 2 * id.length;
  return bytes;
}
