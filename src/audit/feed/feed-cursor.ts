import { createHash } from 'node:crypto';
import type { Organizations } from '../../auth/principal';
import { AppError } from '../../platform/errors/app-error';
import { BEGINNING, type LogPosition, type LogPositions } from '../read/position';

/** Limit of organizations in a cursor, which has to fit into a header (Last-Event-ID). */
export const MAX_RESUMABLE_ORGANIZATIONS = 100;

/**
 * At most 18 digits, which bigint holds and no organization reaches, and the recording's microseconds in base 36,
 * absent in cursors of earlier versions (docs/adr/0029) and typed numbers.
 */
const POSITION = /^(0|[1-9]\d{0,17})(?:\.([1-9a-z][0-9a-z]{0,10}))?$/;
const FINGERPRINT_LENGTH = 10;

/**
 * Positions of a feed as text. One organization: `1042.mf3k2q1z9a`, last sequence and recording time; several:
 * positions in the order of their names, after a fingerprint of the names (`9fk2…~12.mf3…~7.mf4…`), some 3 000
 * characters for 100. Null for more.
 */
export function feedCursor(organizations: Organizations, positions: LogPositions): string | null {
  if (organizations === '*' || organizations.length > MAX_RESUMABLE_ORGANIZATIONS) return null;
  const texts = organizations.map((id) => textOf(positions.get(id) ?? BEGINNING));
  if (texts.length === 1) return texts[0] ?? null;
  return `${fingerprintOf(organizations)}~${texts.join('~')}`;
}

/**
 * Positions in a cursor, also of events that no longer exist.
 * @throws AppError INVALID_CURSOR, also for one of other organizations.
 */
export function positionsIn(cursor: string, organizations: Organizations): LogPositions {
  if (organizations === '*' || organizations.length > MAX_RESUMABLE_ORGANIZATIONS) {
    throw invalid(
      `A feed goes on from a cursor only for up to ${MAX_RESUMABLE_ORGANIZATIONS} organizations: name them in the filter.`,
    );
  }
  const texts = textsIn(cursor, organizations);
  const positions = texts.map(positionIn);
  if (positions.length !== organizations.length) {
    throw invalid('The cursor is not one that this service made.');
  }
  return new Map(organizations.map((id, at) => [id, positions[at] ?? BEGINNING]));
}

function textsIn(cursor: string, organizations: readonly string[]): string[] {
  if (organizations.length === 1) return [cursor];
  const [head, ...tail] = cursor.split('~');
  if (head !== fingerprintOf(organizations)) {
    throw invalid('The cursor is not one of a feed of these organizations.');
  }
  // Numbers alone, joined by dots, come from earlier versions.
  const [numbers = ''] = tail;
  return tail.length === 1 ? numbers.split('.') : tail;
}

function positionIn(text: string): LogPosition {
  const [, sequence, time] = POSITION.exec(text) ?? [];
  const recordedMicros = time === undefined ? undefined : Number.parseInt(time, 36);
  const isExact = recordedMicros === undefined || recordedMicros.toString(36) === time;
  if (sequence === undefined || !isExact || (sequence === '0' && time !== undefined)) {
    throw invalid('The cursor is not one that this service made.');
  }
  return { sequence: BigInt(sequence), recordedMicros };
}

function textOf({ sequence, recordedMicros }: LogPosition): string {
  if (sequence === 0n || recordedMicros === undefined) return String(sequence);
  return `${sequence}.${recordedMicros.toString(36)}`;
}

function invalid(detail: string): AppError {
  return new AppError('INVALID_CURSOR', detail);
}

/** Keyed by the feeds' own lists: a hash per event and subscriber would cost more than the rest. */
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
