import { createHash } from 'node:crypto';
import { MAX_POSITIONS } from '../read/log-positions';
import type { LogPosition } from '../read/position';
import type { Watermark } from './watermark';

const HASH_LENGTH = 8;
const WATERMARK = /^([1-9a-z][0-9a-z]{0,10})\.(0|[1-9]\d{0,29})$/;
const EXCEPTION = /^([\w-]{8})\.([1-9]\d{0,17})\.([1-9a-z][0-9a-z]{0,10})$/;

/**
 * Position in the logs of more organizations than a cursor can name, or of all: a watermark, and by a hash of the name the
 * position of each organization whose events were delivered after it.
 */
export interface WatermarkPosition {
  watermark: Watermark;
  exceptions: ReadonlyMap<string, LogPosition>;
}

/** Positions after a watermark of the organizations whose events a feed has delivered last. */
export class DeliveredPositions {
  private readonly positions = new Map<string, LogPosition>();

  /** Sets a position. Beyond MAX_POSITIONS the oldest is dropped: a resumed feed repeats the events after the watermark. */
  set(organizationId: string, position: LogPosition): void {
    const hash = organizationHash(organizationId);
    this.positions.delete(hash);
    this.positions.set(hash, position);
    if (this.positions.size <= MAX_POSITIONS) return;
    for (const oldest of this.positions.keys()) {
      this.positions.delete(oldest);
      return;
    }
  }

  /** Drops the positions that a watermark covers. */
  passed({ micros }: Watermark): void {
    for (const [hash, { recordedMicros }] of this.positions) {
      if ((recordedMicros ?? Infinity) <= micros) this.positions.delete(hash);
    }
  }

  toString(): string {
    return [...this.positions]
      .map(([hash, { sequence, recordedMicros = 0 }]) => {
        return `~${hash}.${sequence}.${recordedMicros.toString(36)}`;
      })
      .join('');
  }
}

/** Writes the cursor after `delivered`: usually up to 3 000 characters, at most 4 046. `scope` names the organizations. */
export function watermarkCursor(
  scope: string,
  { micros, sum }: Watermark,
  delivered: DeliveredPositions,
): string {
  return `${scope}~${micros.toString(36)}.${sum}${delivered.toString()}`;
}

/** Reads the position in a cursor; undefined for other text, and for a cursor of other organizations. */
export function parseWatermarkCursor(cursor: string, scope: string): WatermarkPosition | undefined {
  const [head, watermarkText = '', ...texts] = cursor.split('~');
  const [, micros, sum] = WATERMARK.exec(watermarkText) ?? [];
  if (head !== scope || micros === undefined || sum === undefined) return undefined;
  const exceptions = new Map<string, LogPosition>();
  for (const text of texts) {
    const [, hash, sequence, time] = EXCEPTION.exec(text) ?? [];
    if (hash === undefined || sequence === undefined || time === undefined) return undefined;
    const recordedMicros = Number.parseInt(time, 36);
    exceptions.set(hash, { sequence: BigInt(sequence), recordedMicros });
  }
  return { watermark: { micros: Number.parseInt(micros, 36), sum: BigInt(sum) }, exceptions };
}

export function organizationHash(organizationId: string): string {
  return createHash('sha256').update(organizationId).digest('base64url').slice(0, HASH_LENGTH);
}
