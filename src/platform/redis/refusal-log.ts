import { Logger } from '@nestjs/common';

const INTERVAL_MS = 10_000;

/** Logs refused commands, one line in ten seconds: a full Redis refuses thousands. */
export class RefusalLog {
  private silentUntilMs = -Infinity;
  private unreported = 0;

  constructor(private readonly logger: Logger) {}

  report(error: unknown): void {
    const nowMs = performance.now();
    if (nowMs < this.silentUntilMs) {
      this.unreported += 1;
      return;
    }
    const more = this.unreported > 0 ? ` (and ${this.unreported} times since the last report)` : '';
    this.logger.warn(`A Redis command failed: ${refusalReason(error)}${more}`);
    this.unreported = 0;
    this.silentUntilMs = nowMs + INTERVAL_MS;
  }
}

/** Reason for the log, without the arguments quoted by Redis, which may be personal data. */
export function refusalReason(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  // A failure on several addresses has a code but no message.
  const text = error.message || ((error as NodeJS.ErrnoException).code ?? error.name);
  return text.split(', with args')[0] ?? text;
}
