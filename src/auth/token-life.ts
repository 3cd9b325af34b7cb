import { Injectable, Logger } from '@nestjs/common';
import { onceReached } from '../platform/runtime/clocks';
import type { AppError } from '../platform/errors/app-error';
import { invalidToken } from './challenge';
import type { Principal } from './principal';
import { TokenVerifier } from './token-verifier';

type End = (reason: AppError) => void;

/** An error of one end must not prevent others. */
function logged(error: unknown): void {
  new Logger('Authentication').error(`What a token began could not be ended: ${String(error)}`);
}

/**
 * Ends work that outlives a request (exports, feeds, sockets, NDJSON bodies) when its token expires or the key is
 * withdrawn.
 */
@Injectable()
export class TokenLife {
  private readonly watched = new Map<Principal, Set<End>>();

  constructor(private readonly verifier: TokenVerifier) {
    verifier.dependOnKeys({
      exist: () => this.watched.size > 0,
      onChange: (isOutage) => {
        for (const principal of this.watched.keys())
          this.verifyAgain(principal, isOutage).catch(logged);
      },
    });
  }

  /**
   * Calls `end` once, never within this call, when the token no longer holds: UNAUTHENTICATED, or
   * AUTHENTICATION_UNAVAILABLE after a long outage.
   * @returns a function that stops watching, to be called when the work is done.
   */
  watch(principal: Principal, end: End): () => void {
    let cancel = (): void => undefined;
    const stop = (): void => {
      clearTimeout(begin);
      cancel();
      const ends = this.watched.get(principal);
      ends?.delete(finish);
      if (ends?.size === 0) this.watched.delete(principal);
    };
    const finish: End = (reason) => {
      stop();
      end(reason);
    };
    const expire = (): void => finish(invalidToken('expired', 'The token has expired.'));
    const begin = setTimeout(() => {
      cancel = onceReached(principal.expiresAtMs, expire);
    }, 0).unref();
    const ends = this.watched.get(principal) ?? new Set();
    this.watched.set(principal, ends.add(finish));
    if (!this.verifier.isCurrent(principal)) this.verifyAgain(principal, false).catch(logged);
    return stop;
  }

  /** `watch` as a signal with the same error. */
  signalOf(principal: Principal): { signal: AbortSignal; release: () => void } {
    const controller = new AbortController();
    const release = this.watch(principal, (reason) => controller.abort(reason));
    return { signal: controller.signal, release };
  }

  private async verifyAgain(principal: Principal, isOutage: boolean): Promise<void> {
    const failure = await this.verifier.failureOf(principal);
    if (!failure || (failure.code === 'AUTHENTICATION_UNAVAILABLE' && !isOutage)) return;
    for (const end of this.watched.get(principal) ?? []) {
      try {
        end(failure);
      } catch (error) {
        logged(error);
      }
    }
  }
}
