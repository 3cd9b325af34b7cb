/** Times of events in a zone and a language. Digits beyond milliseconds are those of the event. */
export class TimeFormat {
  private readonly dayAndTime: Intl.DateTimeFormat;
  private readonly long: Intl.DateTimeFormat;
  private readonly zoned: Intl.DateTimeFormat;
  private readonly dateOnly: Intl.DateTimeFormat;

  /** @param zone IANA name; the browser's without one. */
  constructor(
    language: string,
    readonly zone: string | undefined,
  ) {
    const timeZone = zone ? { timeZone: zone } : {};
    const clock = {
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
      hourCycle: 'h23',
    } as const;
    const day = { year: 'numeric', month: 'short', day: '2-digit' } as const;
    this.dayAndTime = new Intl.DateTimeFormat(language, { ...timeZone, ...clock, ...day });
    this.long = new Intl.DateTimeFormat(language, {
      ...timeZone,
      ...clock,
      weekday: 'long',
      year: 'numeric',
      month: 'long',
      day: 'numeric',
      timeZoneName: 'short',
    });
    this.dateOnly = new Intl.DateTimeFormat(language, { ...day, timeZone: 'UTC' });
    this.zoned = new Intl.DateTimeFormat('en-CA', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
    });
  }

  /** For a row. */
  short(timestamp: string): string {
    return formatted(this.dayAndTime, timestamp);
  }

  /** A date (`2026-11-30`), which has no zone. */
  day(date: string): string {
    return formatted(this.dateOnly, `${date}T00:00Z`);
  }

  /** The date of an instant in the zone. */
  dateOf(timestamp: string): string {
    return this.localInput(timestamp).slice(0, 10);
  }

  /** For one event. */
  full(timestamp: string): string {
    return formatted(this.long, timestamp);
  }

  /** Value of an input `datetime-local` for an instant. */
  localInput(timestamp: string): string {
    const parts = new Map(
      this.zoned.formatToParts(new Date(timestamp)).map(({ type, value }) => [type, value]),
    );
    const part = (type: Intl.DateTimeFormatPartTypes) => parts.get(type) ?? '';
    return `${part('year').padStart(4, '0')}-${part('month')}-${part('day')}T${part('hour')}:${part('minute')}`;
  }

  /** The instant (ISO 8601, UTC) of a value of an input `datetime-local`; undefined for none. */
  instantOf(local: string): string | undefined {
    const asUtc = Date.parse(`${local}Z`);
    if (Number.isNaN(asUtc)) return undefined;
    // The offset of the zone at about that time, and again at the time found: clocks may change in between.
    let instant = asUtc;
    for (let round = 0; round < 2; round += 1) instant = asUtc - this.offsetMs(instant);
    return new Date(instant).toISOString();
  }

  private offsetMs(instant: number): number {
    const parts = new Map(
      this.zoned.formatToParts(new Date(instant)).map(({ type, value }) => [type, Number(value)]),
    );
    const part = (type: Intl.DateTimeFormatPartTypes) => parts.get(type) ?? 0;
    const local = Date.UTC(
      part('year'),
      part('month') - 1,
      part('day'),
      part('hour'),
      part('minute'),
      part('second'),
    );
    return local - Math.floor(instant / 1000) * 1000;
  }
}

function formatted(format: Intl.DateTimeFormat, timestamp: string): string {
  const instant = Date.parse(timestamp);
  return Number.isNaN(instant) ? timestamp : format.format(instant);
}

/** The zone of the browser. */
export function localZone(): string {
  return new Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** Zones to choose from. */
export function allZones(): string[] {
  return ['UTC', ...Intl.supportedValuesOf('timeZone').filter((zone) => zone !== 'UTC')];
}
