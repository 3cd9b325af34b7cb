import { Logger } from '@nestjs/common';
import { errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import { AppError } from '../platform/errors/app-error';
import { UNKNOWN_KEY_INTERVAL_MS, type VerificationKeys } from './verification-keys';

/** Results that depend on keys. */
export interface KeyDependents {
  /** The source is checked only while this is true. */
  exist: () => boolean;
  /** Called on a change of keys, and (`isOutage`) at each failed check once the last successful one is too old. */
  onChange: (isOutage: boolean) => void;
}

/**
 * Checks keys every `intervalMs` while results depend on them, and in an outage, so that a withdrawal takes effect within
 * seconds. In an outage, known keys hold for `staleMs` after the last successful check: an outage must neither end everything at
 * once nor prolong a stolen key without end. A secret has no source.
 */
export class WatchedKeys implements VerificationKeys {
  private readonly logger = new Logger('Authentication');
  /** All keys; undefined makes the next check a change. */
  private known: string | undefined;
  private timer: NodeJS.Timeout | undefined;
  /** True from a failed check to a successful one. */
  isAway = false;
  /** Times on the clock of performance.now(). */
  private checkedMs = -Infinity;
  private unknownKeyMs = -Infinity;

  constructor(
    private readonly source: VerificationKeys,
    private readonly intervalMs: number,
    private readonly staleMs: number,
    private readonly dependents: KeyDependents,
  ) {}

  /** Seconds since the last successful check; undefined before it, and for a secret. */
  get ageSeconds(): number | undefined {
    return this.checkedMs === -Infinity ? undefined : (performance.now() - this.checkedMs) / 1000;
  }

  readonly find: JWTVerifyGetKey = async (header, token) => {
    this.watch();
    try {
      return await this.source.find(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || !this.hidesNewKeys()) throw error;
      this.unknownKeyMs = performance.now();
      await this.check();
      return this.source.find(header, token);
    }
  };

  trustedUntilMs(): number {
    return this.source.trustedUntilMs();
  }

  /** Makes the next check a change, after a failed verification. */
  forget(): void {
    this.known = undefined;
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  /** True after a recent check that was not for an unknown key: the source would not fetch again for one. */
  private hidesNewKeys(): boolean {
    const nowMs = performance.now();
    return (
      nowMs - this.checkedMs < UNKNOWN_KEY_INTERVAL_MS &&
      nowMs - this.unknownKeyMs >= UNKNOWN_KEY_INTERVAL_MS
    );
  }

  private watch(): void {
    if (this.timer || !this.source.refresh) return;
    this.timer = setTimeout(() => {
      this.tick().catch((error: unknown) => this.logger.error(String(error)));
    }, this.intervalMs).unref();
  }

  private async tick(): Promise<void> {
    try {
      await this.check();
    } catch (error) {
      this.noteAway(error);
    }
    this.timer = undefined;
    if (this.dependents.exist() || this.isAway) this.watch();
    else this.known = undefined;
  }

  private async check(): Promise<void> {
    if (!this.source.refresh) return;
    const text = textOf(await this.source.refresh());
    this.checkedMs = performance.now();
    if (this.isAway) this.logger.log('The keys that verify tokens can be checked again.');
    this.isAway = false;
    if (text === this.known) return;
    this.known = text;
    this.dependents.onChange(false);
  }

  private noteAway(error: unknown): void {
    const { cause } = error instanceof AppError ? error : { cause: error };
    if (!this.isAway) {
      this.logger.warn(
        `The keys that verify tokens cannot be checked: ${String(cause)}. Known keys hold for ${this.staleMs / 1000} s (AUTH_JWKS_STALE_SECONDS); see AUTH_JWKS_URL, AUTH_JWKS_FILE.`,
      );
      this.isAway = true;
      if (this.checkedMs === -Infinity) this.checkedMs = performance.now(); // available for the first token
    }
    if (performance.now() - this.checkedMs >= this.staleMs) this.dependents.onChange(true);
  }
}

/** Independent of the order of keys. */
function textOf({ keys }: JSONWebKeySet): string {
  return JSON.stringify(keys.map((key) => JSON.stringify(key)).sort());
}
