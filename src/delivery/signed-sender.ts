import { createHmac } from 'node:crypto';
import { onAbort } from '../platform/runtime/abort';
import { wallClockMs } from '../platform/runtime/clocks';

const MS_PER_SECOND = 1000;

/** Eight attempts over about a minute: a receiver that restarts gets its messages. */
const ATTEMPTS = 8;
const TIMEOUT_MS = 5000;
/** Pauses between attempts double up to the longest. */
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;

/** JSON, and headers of this message alone. */
interface SignedMessage {
  body: string;
  headers: Record<string, string>;
}

/** Posts messages to one URL, signed when there is a secret, with retries. */
export class SignedSender {
  private readonly url: string;
  private readonly headers: Record<string, string> = {
    'Content-Type': 'application/json',
    'User-Agent': 'audit-server',
  };

  /**
   * @param url user and password in it, which `fetch` refuses, become HTTP's basic authentication.
   * @param signal ends attempts and pauses at once.
   */
  constructor(
    url: string,
    private readonly secret: string | undefined,
    private readonly signal: AbortSignal,
    private readonly fetch: typeof globalThis.fetch = globalThis.fetch,
  ) {
    const target = new URL(url);
    const credentials = [target.username, target.password].map(decodeURIComponent).join(':');
    target.username = target.password = '';
    this.url = target.href;
    if (credentials === ':') return;
    this.headers['Authorization'] = `Basic ${Buffer.from(credentials).toString('base64')}`;
  }

  /**
   * Resolves with true once the receiver has taken the message; false once the signal has aborted. Retries after a
   * network fault, 408, 425, 429 and 5xx; other refusals will not change. Calls `onFailure` after each failed attempt.
   */
  async send(
    message: SignedMessage,
    onFailure: (attempt: number, reason: string) => void,
  ): Promise<boolean> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      const failure = await this.post(message);
      if (this.signal.aborted) return false;
      if (failure === undefined) return true;
      onFailure(attempt, failure.reason);
      if (failure.isFinal) return false;
      if (attempt < ATTEMPTS) await this.pause(attempt);
    }
    return false;
  }

  private async post({
    body,
    headers,
  }: SignedMessage): Promise<{ reason: string; isFinal: boolean } | undefined> {
    const signature: Record<string, string> = {};
    if (this.secret !== undefined) {
      const timestampSeconds = Math.floor(wallClockMs() / MS_PER_SECOND);
      signature['X-Audit-Signature'] = messageSignature(this.secret, timestampSeconds, body);
    }
    try {
      const { fetch } = this; // a method would be called on the sender
      const response = await fetch(this.url, {
        method: 'POST',
        headers: { ...this.headers, ...headers, ...signature },
        body,
        redirect: 'manual', // a signed message goes where it was meant to go
        signal: AbortSignal.any([this.signal, AbortSignal.timeout(TIMEOUT_MS)]),
      });
      await response.body?.cancel();
      const { ok, status } = response;
      if (ok) return undefined;
      const isFinal = status < 500 && ![408, 425, 429].includes(status);
      return { reason: `answered ${status}`, isFinal };
    } catch (error) {
      return { reason: faultName(error), isFinal: false };
    }
  }

  /** Jitter, so that replicas do not retry all at once. */
  private async pause(attempt: number): Promise<void> {
    const longestMs = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (attempt - 1));
    const delayMs = longestMs * (0.5 + Math.random() / 2);
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        removeListener();
        resolve();
      };
      const timer = setTimeout(done, delayMs).unref();
      const removeListener = onAbort(this.signal, done);
    });
  }
}

/**
 * `t=<seconds since 1970>,v1=<hex of HMAC-SHA-256 over "t.body">`. A receiver compares in constant time, and refuses a
 * `t` that is minutes old, against replay.
 */
export function messageSignature(secret: string, timestampSeconds: number, body: string): string {
  const mac = createHmac('sha256', secret).update(`${timestampSeconds}.${body}`).digest('hex');
  return `t=${timestampSeconds},v1=${mac}`;
}

/** Kind of fault only: messages of fetch can hold the URL, whose path may be a secret. */
function faultName(error: unknown): string {
  const cause = (error as { cause?: { code?: unknown } }).cause?.code;
  if (typeof cause === 'string') return cause;
  return error instanceof Error ? error.name : 'unknown';
}
