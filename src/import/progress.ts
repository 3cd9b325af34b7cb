import type { ImportTally } from './import-run';

export interface Terminal {
  isTTY?: boolean;
  write: (text: string) => unknown;
}

const TERMINAL_INTERVAL_MS = 100;
const LOG_INTERVAL_MS = 5_000;
const BAR_WIDTH = 24;

/** A line that rewrites itself on a terminal, a plain line every 5 s elsewhere. */
export class Progress {
  private lastShownMs: number;
  private hasOpenLine = false;

  constructor(
    private readonly terminal: Terminal,
    private readonly isQuiet: boolean,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.lastShownMs = now();
  }

  /** `fraction` is the part of the file that has been read, undefined when its size is unknown. */
  update(tally: ImportTally, fraction: number | undefined): void {
    if (this.isQuiet) return;
    const intervalMs = this.terminal.isTTY ? TERMINAL_INTERVAL_MS : LOG_INTERVAL_MS;
    if (this.now() - this.lastShownMs < intervalMs) return;
    this.lastShownMs = this.now();
    const text = `${this.part(fraction)}${settledOf(tally)} events, ${ratePerSecond(tally)}/s`;
    this.terminal.write(this.terminal.isTTY ? `\r\u001b[K${text}` : `${text}\n`);
    this.hasOpenLine = this.terminal.isTTY === true;
  }

  /** Writes a message, also when quiet. */
  say(message: string): void {
    this.finish();
    this.terminal.write(`${message}\n`);
  }

  /** Removes the line that rewrites itself. */
  finish(): void {
    if (this.hasOpenLine) this.terminal.write('\r\u001b[K');
    this.hasOpenLine = false;
  }

  private part(fraction: number | undefined): string {
    if (fraction === undefined) return '';
    const percent = `${Math.floor(fraction * 100)}`.padStart(3);
    if (!this.terminal.isTTY) return `${percent} %, `;
    const filled = Math.round(fraction * BAR_WIDTH);
    return `[${'#'.repeat(filled)}${'.'.repeat(BAR_WIDTH - filled)}] ${percent} %  `;
  }
}

function settledOf({ created, duplicates }: ImportTally): number {
  return created + duplicates;
}

export function ratePerSecond(tally: ImportTally): number {
  return Math.round(settledOf(tally) / Math.max(tally.seconds, 0.001));
}
