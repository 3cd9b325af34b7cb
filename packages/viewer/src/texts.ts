import { german } from './texts.de';

/** Everything that is read; `{name}` stands for a value. A further language is one more object of this shape. */
export const english = {
  searchLabel: 'Search events',
  searchPlaceholder: 'Search: actor:alice action:invoice.* -status:success "refund"',
  searchButton: 'Search',
  clearSearch: 'Clear the search',
  completions: 'Suggestions',
  faultAt: 'The query has a fault at character {place}:',
  fault: 'The query has a fault:',
  hint_actor: 'who did it',
  hint_action: 'such as invoice.approve or invoice.*',
  hint_status: 'success, failure, attempt',
  hint_target: 'id of what it was done to',
  hint_target_type: 'such as Invoice',
  hint_actor_type: 'user, service, system',
  hint_classification: 'PUBLIC, INTERNAL, CONFIDENTIAL, PHI',
  hint_correlation: 'id of a request or a process',
  hint_session: 'id of a session',
  hint_ip: 'address, or a network such as 10.0.0.0/8',
  hint_after: 'from this day or instant on',
  'hint_metadata.': 'a value at a path, such as metadata.order.id:42',
  hint_before: 'before this day or instant',
  time: 'Time',
  anyTime: 'Any time',
  range_15m: 'Last 15 minutes',
  range_1h: 'Last hour',
  range_24h: 'Last 24 hours',
  range_7d: 'Last 7 days',
  range_30d: 'Last 30 days',
  range_90d: 'Last 90 days',
  from: 'From',
  to: 'To',
  apply: 'Apply',
  status: 'Status',
  status_success: 'Success',
  status_failure: 'Failure',
  status_attempt: 'Attempt',
  principal: 'Principal',
  action: 'Action',
  target: 'Target',
  organization: 'Organization',
  allOrganizations: 'All organizations',
  addFilter: 'Add',
  exclude: 'Exclude',
  valueOf: 'Value of {name}',
  seen: 'In the list',
  removeFilter: 'Remove {filter}',
  activeFilters: 'Filters of the query',
  clearAll: 'Remove all',
  newestFirst: 'Newest first',
  oldestFirst: 'Oldest first',
  zone: 'Time zone',
  localZone: 'This device ({zone})',
  export: 'Export',
  exportTitle: 'Export events',
  exportText: 'All events of the current search, without a limit, as of one moment.',
  format: 'Format',
  format_csv: 'CSV, for spreadsheets',
  format_json: 'JSON, one array',
  format_ndjson: 'NDJSON, a line for each event',
  format_cef: 'CEF, for SIEM systems',
  schema: 'Schema',
  schema_native: 'as recorded',
  exportStart: 'Export',
  exportRunning: 'Received {size}',
  exportLines: 'Received {size}, events: {count}',
  exportDone: 'Complete: {name}, {size}.',
  exportFailed: 'The export failed, and no file was saved: {reason}',
  exportForbidden: 'This token may not export. It needs the scope audit:export.',
  cancel: 'Cancel',
  close: 'Close',
  live: 'Live',
  liveStart: 'Show new events as they are recorded',
  liveStop: 'Stop following',
  liveFollowing: 'Following: new events appear on top.',
  livePaused: 'Paused while you read.',
  liveReconnecting: 'The connection was lost. Connecting again …',
  newEvents: 'Show {count} new',
  timeline: 'Events',
  columnTime: 'Time',
  columnOutcome: 'Outcome',
  loadingMore: 'Loading more …',
  endOfList: 'No further events. {count} shown.',
  countAll: 'Events: {count}',
  countAtLeast: 'Events: at least {count}',
  moreFailed: 'Further events could not be loaded.',
  tryAgain: 'Try again',
  loading: 'Loading events …',
  emptyTitle: 'No event matches',
  emptyText: 'Remove a filter, or choose a longer time.',
  nothingTitle: 'No events yet',
  nothingText: 'As soon as events are recorded they appear here. Turn on “Live” to watch.',
  removeFilters: 'Remove all filters',
  noTokenTitle: 'No access token',
  noTokenText: 'This page has to give the viewer a token of the audit service.',
  expiredTitle: 'The access has expired',
  expiredText: 'Sign in again, or reload the page, to get a new token.',
  forbiddenTitle: 'No permission',
  forbiddenText:
    'This token may not read these events. Ask for the scope audit:read for this organization.',
  offlineTitle: 'No connection',
  offlineText:
    'The service cannot be reached. Check the network; the list is loaded again as soon as there is one.',
  busyTitle: 'The service is busy',
  busyText: 'Try again in {seconds} seconds.',
  errorTitle: 'The events could not be loaded',
  errorText: 'Try again. If it goes on, give this number to the operators: {id}',
  invalidTitle: 'The search is not valid',
  invalidText: 'Correct what is marked above.',
  details: 'Event',
  previous: 'Newer event',
  next: 'Older event',
  copyLink: 'Copy link',
  copy: 'Copy',
  copyJson: 'Copy JSON',
  copied: 'Copied',
  when: 'When',
  recordedAt: 'Recorded',
  sequence: 'Number',
  id: 'Id',
  classification: 'Classification',
  correlation: 'Correlation',
  outcome: 'Outcome',
  targets: 'Targets',
  changes: 'Changes',
  path: 'Path',
  before: 'Before',
  after: 'After',
  absent: 'not there',
  session: 'Session',
  sessionId: 'Id of the session',
  ipAddress: 'Address',
  userAgent: 'Program',
  geolocation: 'Place',
  source: 'Reported by',
  schemaVersion: 'Version of the form',
  metadata: 'Metadata',
  raw: 'JSON, every digit as recorded',
  showAll: 'Show all ({size})',
  moreLikeThis: 'More like this',
  same_actor: 'Same principal',
  same_action: 'Same action',
  same_target: 'Same target',
  same_correlation: 'Same correlation',
  same_session: 'Same session',
  same_ip: 'Same address',
  eventMissing: 'This event does not exist, or this token may not read it.',
  eventFailed: 'The event could not be loaded.',
  perDay: 'Events per day',
  perDayHint: 'Drag to choose days. With the keyboard: arrow keys, and Enter.',
  dayCount: '{day}: {count}',
  shortcuts: 'Keyboard',
  key_search: 'to the search',
  key_move: 'next and previous event',
  key_open: 'open',
  key_close: 'close',
  key_live: 'live on and off',
  key_help: 'this list',
};

export type Texts = Record<keyof typeof english, string>;

const languages = new Map<string, Partial<Texts>>([
  ['en', english],
  ['de', german],
]);

/** Adds a language, or replaces texts of one; what is missing is shown in English. */
export function addLanguage(language: string, texts: Partial<Texts>): void {
  languages.set(language.toLowerCase(), texts);
}

/** Texts and numbers of a language; of `de-AT` those of `de`, and English where there are none. */
export class Language {
  private readonly texts: Partial<Texts>;
  readonly code: string;

  constructor(wanted: string) {
    const full = wanted.toLowerCase();
    const [base = ''] = full.split('-');
    const found = [full, base].find((one) => languages.has(one)) ?? 'en';
    this.texts = languages.get(found) ?? english;
    this.code = found === 'en' && base !== 'en' ? 'en' : wanted;
  }

  text(key: keyof Texts, values: Record<string, string | number> = {}): string {
    const template = this.texts[key] ?? english[key];
    return template.replace(/\{(\w+)\}/g, (_all, name: string) => {
      const value = values[name];
      return typeof value === 'number' ? this.number(value) : (value ?? '');
    });
  }

  number(value: number): string {
    return new Intl.NumberFormat(this.code).format(value);
  }

  /** Bytes in the unit that fits. */
  size(bytes: number): string {
    const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte'];
    const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(bytes, 1)) / 3));
    const format = {
      style: 'unit',
      unit: units[power] ?? 'byte',
      maximumFractionDigits: 1,
    } as const;
    return new Intl.NumberFormat(this.code, format).format(bytes / 1000 ** power);
  }
}
