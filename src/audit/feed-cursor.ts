import { createHash } from 'node:crypto';
import type { Organizations } from '../auth/principal';
import { AppError } from '../errors/app-error';

/** Organizations whose places go into one cursor: it has to fit into a header (Last-Event-ID). */
export const MAX_RESUMABLE_ORGANIZATIONS = 100;

/** Of 18 digits at most, which PostgreSQL’s bigint holds and no organization reaches. */
const SEQUENCE = /^(?:0|[1-9]\d{0,17})$/;
const FINGERPRINT_LENGTH = 10;

/** How far a subscriber has come in each organization: the last sequence number it is done with. */
export type FeedPlaces = Map<string, bigint>;

/**
 * Where a feed stands, as text: of one organization its sequence number (`1042`); of several the numbers in the order of
 * their names, behind a fingerprint of those names (`9fk2…~12.7.1042`). Null when there are too many to write down.
 */
export function feedCursor(organizations: Organizations, places: FeedPlaces): string | null {
  if (organizations === '*' || organizations.length > MAX_RESUMABLE_ORGANIZATIONS) return null;
  const numbers = organizations.map((id) => String(places.get(id) ?? 0n));
  if (numbers.length === 1) return numbers[0] ?? null;
  return `${fingerprintOf(organizations)}~${numbers.join('.')}`;
}

/**
 * The places that a cursor names.
 * @throws AppError INVALID_CURSOR when it is none, or one of other organizations.
 */
export function placesIn(cursor: string, organizations: Organizations): FeedPlaces {
  if (organizations === '*' || organizations.length > MAX_RESUMABLE_ORGANIZATIONS) {
    throw invalid(
      `A feed goes on from a cursor only for up to ${MAX_RESUMABLE_ORGANIZATIONS} organizations: name them in the filter.`,
    );
  }
  const [head, tail] = cursor.split('~', 2);
  const isSingle = organizations.length === 1;
  if (!isSingle && head !== fingerprintOf(organizations)) {
    throw invalid('The cursor is not one of a feed of these organizations.');
  }
  const numbers = isSingle ? [cursor] : (tail ?? '').split('.');
  const isWhole = numbers.length === organizations.length;
  if (!isWhole || !numbers.every((number) => SEQUENCE.test(number))) {
    throw invalid('The cursor is not one that this service made.');
  }
  return new Map(organizations.map((id, at) => [id, BigInt(numbers[at] ?? 0)]));
}

function invalid(detail: string): AppError {
  return new AppError('INVALID_CURSOR', detail);
}

/** Of lists of organizations that feeds hold on to: a hash for each event of each subscriber would cost more than the rest. */
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
