import { wallClockMs } from '../clock/clocks';
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

/**
 * Tokens that were verified before, the least recently used dropped first. Bounded in entries and in characters, so
 * that a few thousand very long tokens cannot fill the memory. Only successes are kept: what failed may be
 * valid with the keys of the next minute, and failures would let strangers push out the tokens in use.
 */
export class VerifiedTokenCache {
  private readonly entries = new Map<string, VerifiedToken>();
  private characters = 0;

  constructor(
    private readonly maxEntries = 10_000,
    private readonly maxCharacters = 16 * 1024 * 1024,
  ) {}

  /** How many tokens are kept. */
  get size(): number {
    return this.entries.size;
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
      if (this.entries.size <= this.maxEntries && this.characters <= this.maxCharacters) break;
      this.delete(oldest);
    }
  }

  /** Drops all of them: the keys that verified them may be gone. */
  clear(): void {
    this.entries.clear();
    this.characters = 0;
  }

  private insert(token: string, entry: VerifiedToken): void {
    this.entries.set(token, entry);
    this.characters += token.length;
  }

  private delete(token: string): void {
    if (this.entries.delete(token)) this.characters -= token.length;
  }
}
