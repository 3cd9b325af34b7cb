import { randomFillSync } from 'node:crypto';
import { wallClockMs } from '../../platform/runtime/clocks';
import { formatInstant, type Micros } from '../../platform/runtime/instant';

const POOL_BYTES = 8192;
const BYTES_PER_ID = 8;
const pool = Buffer.alloc(POOL_BYTES);
let used = POOL_BYTES;

/**
 * UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds since 1970, 12 bits of the fraction of the millisecond
 * (method 3: ids sort as timestamps do), 62 random bits.
 */
export function uuid7(micros: Micros): string {
  if (used === POOL_BYTES) {
    randomFillSync(pool);
    used = 0;
  }
  const milliseconds = Math.floor(micros / 1000);
  const fraction = Math.floor(((micros - milliseconds * 1000) * 4096) / 1000);
  pool[used] = 0x80 | ((pool[used] ?? 0) & 0x3f);
  const random = pool.toString('hex', used, used + BYTES_PER_ID);
  used += BYTES_PER_ID;
  const time = milliseconds.toString(16).padStart(12, '0');
  const low = fraction.toString(16).padStart(3, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${low}-${random.slice(0, 4)}-${random.slice(4)}`;
}

/** Millisecond of a UUIDv7 as a half-open range of timestamps; undefined for other versions. */
export function millisecondOf(id: string): { from: string; to: string } | undefined {
  if (id[14] !== '7') return undefined;
  const milliseconds = parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
  // The last event timestamp is of the year 9999.
  if (milliseconds > 253_402_300_799_000) return undefined;
  return { from: formatInstant(milliseconds * 1000), to: formatInstant((milliseconds + 1) * 1000) };
}

/** A wall clock set back by more than this is followed; less, as by NTP, is waited out. */
const MAX_AHEAD_OF_CLOCK_MICROS = 5_000_000;

/** Drift that realigns the two clocks: NTP slews the wall clock, and it may be set. */
const MAX_OFFSET_ERROR_MS = 5;

let offsetMs = performance.timeOrigin;
let lastEventMicros = 0;

/**
 * Microseconds of an event without a timestamp. Their fraction of the millisecond is from `performance.now()`: a count
 * of calls would show a tenant the rate of others.
 */
export function eventMicros(): Micros {
  const passedMs = performance.now();
  const wallMs = Math.max(0, wallClockMs());
  if (Math.abs(wallMs - passedMs - offsetMs) > MAX_OFFSET_ERROR_MS) offsetMs = wallMs - passedMs;
  const exact = Math.max(0, Math.floor((passedMs + offsetMs) * 1000));
  const isLater = exact > lastEventMicros || lastEventMicros - exact > MAX_AHEAD_OF_CLOCK_MICROS;
  lastEventMicros = isLater ? exact : lastEventMicros + 1;
  return lastEventMicros;
}
