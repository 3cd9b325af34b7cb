const DAY_MS = 86_400_000;

/**
 * Whether everything in a partition is past its time: its upper bound, which it does not hold, is at least
 * `retentionDays` before now. Counted in whole days of 24 hours, so that no time zone and no clock change matters.
 * @param upperMs milliseconds since 1970; null when the partition has no upper bound, and is then never expired.
 * @param retentionDays 0 keeps everything for ever.
 */
export function isExpired(
  upperMs: number | null,
  nowMs: number,
  retentionDays: number,
): upperMs is number {
  if (retentionDays <= 0 || upperMs === null) return false;
  return upperMs <= nowMs - retentionDays * DAY_MS;
}
