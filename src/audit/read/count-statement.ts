import { formatInstant, type Micros } from '../../platform/runtime/instant';
import type { AuditEventFilter } from '../event/audit-event-filter';
import { instantText } from '../event/audit.statements';
import { conditions, type PageRequest, type Statement, where } from './page-statement';
import { Values } from './values';

/** What events are counted by. */
export const COUNT_KEYS = [
  'action',
  'principal',
  'status',
  'resource_type',
  'day',
  'hour',
] as const;
export type CountKey = (typeof COUNT_KEYS)[number];

/** Half-open, microseconds since 1970; absent for no bound. */
export interface TimeSlice {
  from?: Micros | undefined;
  to?: Micros | undefined;
}

/** What is counted; its slice of time is what the filter says, which holds exactly beside it. */
export interface CountRequest extends TimeSlice {
  /** Sorted; '*' stands for all. */
  organizations: readonly string[] | '*';
  filter: AuditEventFilter;
  by: CountKey;
  /** IANA name: whose days are counted. */
  timeZone: string;
}

/** Events of one value, or of one bucket of time. */
export interface CountedValue {
  /** Null for events without a value; the date of a day, the beginning of an hour. */
  value: string | null;
  events: number;
  /** Half-open, for a bucket: its beginning and end. */
  start: string | null;
  end: string | null;
}

/** Rows of countsStatement. */
export type CountRow = [
  value: string | null,
  events: string,
  start: string | null,
  end: string | null,
  /** Events, whatever their value. */
  total: string,
  /** Values, those beyond the limit too. */
  distinct: string,
];

/** True for counts by buckets of time, which come in its order; others come by their number. */
export function isByTime(by: CountKey): by is 'day' | 'hour' {
  return by === 'day' || by === 'hour';
}

const COLUMNS = { action: 'action', principal: 'principal_id', status: 'status' } as const;

/** The types of the targets of an event with a list of them, each once. */
const TYPES_OF_TARGETS = `SELECT DISTINCT u.value FROM (
  SELECT e.target_resource_type AS value UNION ALL SELECT t ->> 'type' FROM json_array_elements(e.targets) t
) u WHERE u.value IS NOT NULL`;

/** From then on offsets of time zones are multiples of a quarter of an hour: Liberia's was the last other one, in 1972. */
const QUARTERS_SINCE_MICROS = Date.UTC(1973, 0, 1) * 1000;

/** How events `e` are grouped, and how values are made of the groups `g`, of `n` events each. */
interface Grouping {
  key: string;
  /** Another column of the groups. */
  more?: string;
  /** SQL of rows (value, n). */
  values: string;
}

function groupingOf(
  { by, timeZone, from }: CountRequest,
  source: string,
  values: Values,
): Grouping {
  switch (by) {
    case 'resource_type':
      // Few events have lists of targets: they are read once more, and no list is walked for the others.
      return {
        key: 'e.target_resource_type AS value',
        more: 'count(*) FILTER (WHERE e.targets IS NULL) AS plain',
        values: `SELECT r.value, sum(r.n) AS n FROM (
          SELECT g.value, g.plain AS n FROM g WHERE g.plain > 0
          UNION ALL
          SELECT t.value, count(*) FROM (SELECT e.* FROM ${source}) e
          LEFT JOIN LATERAL (${TYPES_OF_TARGETS}) t ON true WHERE e.targets IS NOT NULL GROUP BY 1
        ) r GROUP BY 1`,
      };
    case 'hour':
      return { key: binned('1 hour'), values: 'SELECT g.at AS value, g.n FROM g' };
    case 'day': {
      const zone = values.bind(timeZone, 'text');
      const day = (at: string) => `date_trunc('day', ${at}, ${zone})`;
      const hasQuarters = from !== undefined && from >= QUARTERS_SINCE_MICROS;
      // date_trunc for each event would take twice the time.
      const at = timeZone === 'UTC' ? binned('1 day') : binned('15 minutes');
      const key = timeZone === 'UTC' || hasQuarters ? at : `${day('e.timestamp')} AS at`;
      return { key, values: `SELECT ${day('g.at')} AS value, sum(g.n) AS n FROM g GROUP BY 1` };
    }
    default:
      return {
        key: `e.${COLUMNS[by]} AS value`,
        values: 'SELECT g.value, g.n FROM g',
      };
  }
}

function binned(length: string): string {
  return `date_bin('${length}', e.timestamp, '2000-01-01T00:00:00Z'::timestamptz) AS at`;
}

/**
 * Counts the events of rows `e`: the values with most events first and those of as many by bytes, null last; buckets of time in
 * its order. An event with targets of several types counts once for each, and one without any for null.
 * @param source SQL behind FROM, with the parameters in `values`.
 */
export function countsStatement(
  request: CountRequest,
  source: string,
  { values, limit }: { values: Values; limit: number },
): Statement {
  const { key, more, values: rows } = groupingOf(request, source, values);
  const most = values.bind(limit, 'bigint');
  const { value, start, end, order } = outputOf(request, values);
  const text = `WITH g AS MATERIALIZED (
      SELECT ${[key, 'count(*) AS n', ...(more === undefined ? [] : [more])].join(', ')} FROM ${source} GROUP BY 1
    ), v AS MATERIALIZED (${rows})
    SELECT ${value}, v.n::text, ${start}, ${end},
      (SELECT coalesce(sum(n), 0) FROM g)::text, (SELECT count(*) FROM v)::text
    FROM v ORDER BY ${order} LIMIT ${most}`;
  return { text, values: values.list };
}

function outputOf(
  { by, timeZone }: CountRequest,
  values: Values,
): { value: string; start: string; end: string; order: string } {
  if (!isByTime(by)) {
    const order = 'v.n DESC, v.value COLLATE "C" NULLS LAST';
    return { value: 'v.value', start: 'NULL', end: 'NULL', order };
  }
  const start = instantText('v.value');
  if (by === 'hour') {
    const end = instantText(`(v.value + interval '1 hour')`);
    return { value: start, start, end, order: 'v.value' };
  }
  const zone = values.bind(timeZone, 'text');
  // A day may begin after midnight, where clocks skip that.
  const midnight = `date_trunc('day', v.value AT TIME ZONE ${zone})`;
  const end = instantText(`((${midnight} + interval '1 day') AT TIME ZONE ${zone})`);
  return { value: `to_char(${midnight}, 'YYYY-MM-DD')`, start, end, order: 'v.value' };
}

const ANY_SORT: PageRequest['sort'] = { field: 'timestamp', direction: 'desc' };

/** The events of a request within a slice of time, as a source of countsStatement. */
export function sliceSource(
  { organizations, filter }: CountRequest,
  { from, to }: TimeSlice,
  values: Values,
): string {
  const own =
    organizations === '*'
      ? []
      : organizations.length === 1
        ? [`e.organization_id = ${values.bind(organizations[0], 'text')}`]
        : [`e.organization_id = ANY(${values.bind(organizations, 'text[]')})`];
  const slice = {
    filter,
    sort: ANY_SORT,
    ...(from === undefined ? {} : { from: formatInstant(from) }),
    ...(to === undefined ? {} : { to: formatInstant(to) }),
  };
  return `audit_event e ${where([...own, ...conditions(slice, values)])}`;
}
