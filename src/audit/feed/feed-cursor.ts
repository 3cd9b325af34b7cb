import { createHash } from 'node:crypto';
import type { Organizations } from '../../auth/principal';
import { AppError } from '../../platform/errors/app-error';
import { MAX_POSITIONS, parsePositions, positionsText } from '../read/log-positions';
import type { LogPositions } from '../read/position';
import { parseWatermarkCursor, type WatermarkPosition } from './watermark-cursor';

const FINGERPRINT_LENGTH = 10;

/** Tells whether the cursors of organizations have a watermark: those of all, and of too many to name (watermark-cursor.ts). */
export function hasWatermark(organizations: Organizations): boolean {
  return organizations === '*' || organizations.length > MAX_POSITIONS;
}

/** Returns the name of many organizations in a cursor. */
export function scopeOf(organizations: Organizations): string {
  return organizations === '*' ? 'all' : fingerprintOf(organizations);
}

/**
 * Writes the positions of a feed as text. For one organization `1042.mf3k2q1z9a`, the last sequence and its recording
 * time; for several the positions in the order of their names, after a fingerprint of the names (`9fk2…~12.mf3…~7.mf4…`),
 * some 3 000 characters for 100.
 */
export function feedCursor(organizations: readonly string[], positions: LogPositions): string {
  const text = positionsText(organizations, positions);
  return organizations.length === 1 ? text : `${fingerprintOf(organizations)}~${text}`;
}

/**
 * Reads the positions in a cursor, whose events may no longer exist.
 * @throws AppError INVALID_CURSOR, also for a cursor of other organizations.
 */
export function positionsIn(cursor: string, organizations: readonly string[]): LogPositions {
  const positions = parsePositions(textsIn(cursor, organizations), organizations);
  if (!positions) throw invalid('The cursor is not one that this service made.');
  return positions;
}

function textsIn(cursor: string, organizations: readonly string[]): string[] {
  if (organizations.length === 1) return [cursor];
  const [head, ...tail] = cursor.split('~');
  if (head !== fingerprintOf(organizations)) {
    throw invalid('The cursor is not one of a feed of these organizations.');
  }
  // Earlier versions wrote only numbers, joined by dots.
  const [numbers = ''] = tail;
  return tail.length === 1 ? numbers.split('.') : tail;
}

/**
 * Reads the position in a cursor of many organizations.
 * @throws AppError INVALID_CURSOR, also for a cursor of other organizations.
 */
export function watermarkPositionIn(
  cursor: string,
  organizations: Organizations,
): WatermarkPosition {
  const position = parseWatermarkCursor(cursor, scopeOf(organizations));
  if (position) return position;
  throw invalid(
    `A feed of more than ${MAX_POSITIONS} organizations, or of all, goes on only from the id of one of its own events. ` +
      'From a number, or of other organizations: name them in the filter.',
  );
}

function invalid(detail: string): AppError {
  return new AppError('INVALID_CURSOR', detail);
}

/** Fingerprints by the list of a feed: a hash for each event and subscriber would cost more than the rest. */
const fingerprints = new WeakMap<readonly string[], string>();

function fingerprintOf(organizations: readonly string[]): string {
  const known = fingerprints.get(organizations);
  if (known !== undefined) return known;
  const text = JSON.stringify(organizations);
  const hash = createHash('sha256').update(text).digest('base64url');
  const fingerprint = hash.slice(0, FINGERPRINT_LENGTH);
  fingerprints.set(organizations, fingerprint);
  return fingerprint;
}
