/** Lengths of ranges that end now, in milliseconds. */
export const RANGES = {
  '15m': 15 * 60_000,
  '1h': 3_600_000,
  '24h': 24 * 3_600_000,
  '7d': 7 * 24 * 3_600_000,
  '30d': 30 * 24 * 3_600_000,
  '90d': 90 * 24 * 3_600_000,
} as const;
export type Range = keyof typeof RANGES;

/** All that a link reproduces. */
export interface ViewState {
  q: string;
  range?: Range;
  /** ISO 8601 instants: from this one on, and before this one. */
  from?: string;
  to?: string;
  organization?: string;
  order: 'desc' | 'asc';
  /** The open event, and its organization. */
  event?: string;
  eventOrganization?: string;
  /** IANA name; the browser's without one. */
  zone?: string;
  isLive: boolean;
}

export const INITIAL: ViewState = { q: '', order: 'desc', isLive: false };

/** Names of parameters in a URL. */
const NAMES = ['q', 'range', 'from', 'to', 'org', 'order', 'event', 'of', 'tz', 'live'] as const;

/** The state of a URL's query, whose parameters begin with `prefix`; what is not understood is left out. */
export function stateOf(query: URLSearchParams, prefix: string): ViewState {
  const text = (name: (typeof NAMES)[number]) => query.get(prefix + name) || undefined;
  const range = text('range');
  const from = instantText(text('from'));
  const to = instantText(text('to'));
  const zone = text('tz');
  const optional = {
    range: range !== undefined && Object.hasOwn(RANGES, range) ? (range as Range) : undefined,
    from,
    to,
    organization: text('org'),
    event: text('event'),
    eventOrganization: text('of'),
    zone: zone !== undefined && isZone(zone) ? zone : undefined,
  };
  const state: ViewState = {
    ...INITIAL,
    q: text('q') ?? '',
    order: text('order') === 'asc' ? 'asc' : 'desc',
    isLive: text('live') === '1',
  };
  for (const [name, value] of Object.entries(optional)) {
    if (value !== undefined) Object.assign(state, { [name]: value });
  }
  return state;
}

/** The query of a URL for a state; parameters of others stay. */
export function queryOf(state: ViewState, others: URLSearchParams, prefix: string): string {
  const query = new URLSearchParams(others);
  const values: Record<(typeof NAMES)[number], string | undefined> = {
    q: state.q,
    range: state.range,
    from: state.from,
    to: state.to,
    org: state.organization,
    order: state.order === 'asc' ? 'asc' : undefined,
    event: state.event,
    of: state.eventOrganization,
    tz: state.zone,
    live: state.isLive ? '1' : undefined,
  };
  for (const name of NAMES) {
    const value = values[name];
    if (value) query.set(prefix + name, value);
    else query.delete(prefix + name);
  }
  return query.toString();
}

/** Filters of the service for a state; ranges end at `nowMs` (milliseconds since 1970). */
export function filterOf(state: ViewState, nowMs: number): URLSearchParams {
  const filter = new URLSearchParams();
  if (state.q.trim() !== '') filter.set('q', state.q.trim());
  const from = state.range ? new Date(nowMs - RANGES[state.range]).toISOString() : state.from;
  if (from !== undefined) filter.set('start_date', from);
  if (!state.range && state.to !== undefined) filter.set('end_date', state.to);
  if (state.organization !== undefined)
    filter.set('organization_ids', listText(state.organization));
  return filter;
}

/** True where nothing narrows the list. */
export function isUnfiltered({ q, range, from, to }: ViewState): boolean {
  return q.trim() === '' && !range && !from && !to;
}

/** One value of a list parameter: commas have backslashes. */
export function listText(value: string): string {
  return value.replace(/,/g, '\\,');
}

function instantText(text: string | undefined): string | undefined {
  return text !== undefined && !Number.isNaN(Date.parse(text)) ? text : undefined;
}

function isZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}
