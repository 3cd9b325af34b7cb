import { ApiError, AuditApi, type ViewerEvent } from './audit-api';
import { type Child, h, icon, replace } from './dom';
import { DayChart } from './day-chart';
import { EventDetail } from './event-detail';
import { EventPages, keyOf } from './event-pages';
import { ExportDialog } from './export-dialog';
import { FilterBar } from './filter-bar';
import { LiveFeed } from './live-feed';
import { Menu } from './menu';
import { withQualifier } from './query-text';
import { SearchBox } from './search-box';
import { addLanguage, Language, type Texts } from './texts';
import { allZones, localZone, TimeFormat } from './time-format';
import { Timeline } from './timeline';
import { filterOf, INITIAL, isUnfiltered, queryOf, stateOf, type ViewState } from './view-state';
import styles from './viewer.css' with { type: 'text' };

/** Events of a request. */
const PAGE_SIZE = 100;
/** New events that are kept while one reads; with more the list is loaded anew. */
const MAX_WAITING = 2000;
/** Values that are suggested. */
const MAX_VALUES = 20;

/** Days of the chart where the search has no beginning. */
const CHART_DAYS = 30;
const DAY_MS = 86_400_000;

/** Members of the state that another list shows. */
const LIST_STATE = ['q', 'range', 'from', 'to', 'organization', 'order'] as const;

let sheet: CSSStyleSheet | undefined;

/** The parts that exist while the element is in a document. */
interface Parts {
  language: Language;
  times: TimeFormat;
  search: SearchBox;
  filters: FilterBar;
  chart: DayChart;
  timeline: Timeline;
  detail: EventDetail;
  export: ExportDialog;
  help: HTMLDialogElement;
  content: HTMLElement;
  liveButton: HTMLButtonElement;
  orderLabel: HTMLElement;
  liveLine: HTMLElement;
  liveText: HTMLElement;
  liveShow: HTMLButtonElement;
}

/**
 * `<audit-log-viewer src token>`: the events of an audit server, to be searched, read, followed and exported.
 *
 * Attributes: `src` (URL of the service; this origin without), `token`, `organization` (the only one that is shown), `organizations`
 * (a choice, with commas), `url-prefix` (the URL of the page has the state, in parameters that begin so; may be empty), `lang`,
 * `theme` (`light`, `dark`), `time-zone`. Events: `audit-token-needed` when the token is missing or refused, `audit-event-open`
 * (`detail`: `{ id, organizationId }`).
 */
export class AuditLogViewer extends HTMLElement {
  static readonly observedAttributes = [
    'src',
    'token',
    'organization',
    'organizations',
    'lang',
    'theme',
    'time-zone',
    'url-prefix',
  ];

  /** Adds a language: texts by key, as in `texts.de.ts`. */
  static addLanguage(language: string, texts: Partial<Texts>): void {
    addLanguage(language, texts);
  }

  private readonly root = this.attachShadow({ mode: 'open' });
  private currentToken: string | undefined;
  private renewer: (() => Promise<string | undefined>) | undefined;
  private renewal: Promise<string | undefined> | undefined;
  private state: ViewState = INITIAL;
  private parts: Parts | undefined;
  private pages: EventPages | undefined;
  private feed: LiveFeed | undefined;
  private filter = new URLSearchParams();
  /** New events while one reads, the newest first. */
  private waiting: ViewerEvent[] = [];
  private isConnectedLive = false;
  private opening: AbortController | undefined;
  private counting: AbortController | undefined;
  private rebuild = 0;
  private readonly api: AuditApi;

  constructor() {
    super();
    if (!sheet) {
      sheet = new CSSStyleSheet();
      sheet.replaceSync(styles);
    }
    this.root.adoptedStyleSheets = [sheet];
    const base = () => new URL(this.getAttribute('src') || '.', document.baseURI).href;
    this.api = new AuditApi({
      get base() {
        return base().replace(/\/$/, '');
      },
      token: () => this.currentToken,
      renew: () => this.renew(),
    });
  }

  /** The token of the audit service; not reflected as an attribute. */
  get token(): string | undefined {
    return this.currentToken;
  }

  set token(token: string | undefined) {
    if (token === this.currentToken) return;
    this.currentToken = token === '' ? undefined : token;
    this.begin();
  }

  /**
   * Gives another token when the one at hand is missing or refused, as after its expiry; undefined where there is none. It is called once
   * for all requests that need one.
   */
  get renewToken(): (() => Promise<string | undefined>) | undefined {
    return this.renewer;
  }

  set renewToken(renew: (() => Promise<string | undefined>) | undefined) {
    this.renewer = renew;
    if (renew && this.currentToken === undefined) this.begin();
  }

  connectedCallback(): void {
    // Properties that were set before the element was defined hide the accessors.
    for (const name of ['token', 'renewToken'] as const) {
      const own = Object.getOwnPropertyDescriptor(this, name) as { value: never } | undefined;
      if (!own) continue;
      Reflect.deleteProperty(this, name);
      this[name] = own.value;
    }
    this.currentToken ??= this.getAttribute('token') || undefined;
    this.state = this.stateOfPage();
    addEventListener('popstate', this.navigated);
    addEventListener('online', this.online);
    this.build();
    // Its properties are set in the task that made the element.
    queueMicrotask(() => {
      if (!this.pages && !this.renewal) this.begin();
    });
  }

  disconnectedCallback(): void {
    removeEventListener('popstate', this.navigated);
    removeEventListener('online', this.online);
    this.pages?.close();
    this.feed?.stop();
    this.opening?.abort();
    this.counting?.abort();
    this.parts?.timeline.disconnect();
    this.parts = undefined;
    this.feed = undefined;
    this.pages = undefined;
    this.root.replaceChildren();
  }

  attributeChangedCallback(name: string, before: string | null, now: string | null): void {
    if (before === now || !this.parts) return;
    if (name === 'token') this.token = now ?? undefined;
    else if (name !== 'theme') this.restart();
  }

  /** Loads the list anew. */
  reload(): void {
    if (this.parts) this.load();
  }

  /** Several attributes that change together restart it once. */
  private restart(): void {
    this.rebuild += 1;
    const round = this.rebuild;
    queueMicrotask(() => {
      if (round !== this.rebuild || !this.parts) return;
      this.parts.timeline.disconnect();
      this.build();
      this.begin();
    });
  }

  /** Loads the list and the event of the state. */
  private begin(): void {
    if (!this.parts) return;
    this.load();
    this.openOfState();
  }

  private get urlPrefix(): string | undefined {
    return this.getAttribute('url-prefix') ?? undefined;
  }

  private stateOfPage(): ViewState {
    const { urlPrefix } = this;
    if (urlPrefix === undefined) return INITIAL;
    return stateOf(new URLSearchParams(location.search), urlPrefix);
  }

  private readonly navigated = (): void => {
    if (this.urlPrefix === undefined) return;
    const before = this.state;
    this.state = this.stateOfPage();
    this.showState();
    if (before.zone !== this.state.zone) this.restart();
    else if (LIST_STATE.some((name) => before[name] !== this.state[name])) this.load();
    else if (before.isLive !== this.state.isLive) this.followOrStop();
    if (before.event !== this.state.event) this.openOfState();
  };

  private readonly online = (): void => {
    const isBroken = this.pages === undefined || this.pages.failure !== undefined;
    if (isBroken && this.parts) this.load();
  };

  /** Changes the state, the URL with it, and what depends on it. */
  private change(change: Partial<ViewState>, isStep = true): void {
    const before = this.state;
    this.state = { ...before, ...change };
    if (this.state.isLive && change.order === 'asc') this.state.isLive = false;
    if (change.isLive) this.state.order = 'desc';
    const { urlPrefix, state } = this;
    if (urlPrefix !== undefined) {
      const query = queryOf(state, new URLSearchParams(location.search), urlPrefix);
      const url = `${location.pathname}${query === '' ? '' : `?${query}`}${location.hash}`;
      if (isStep) history.pushState(history.state, '', url);
      else history.replaceState(history.state, '', url);
    }
    this.showState();
    if (before.zone !== state.zone) this.restart();
    else if (LIST_STATE.some((name) => before[name] !== this.state[name])) this.load();
    else if (before.isLive !== this.state.isLive) this.followOrStop();
  }

  private renew(): Promise<string | undefined> {
    this.renewal ??= this.renewedToken().finally(() => (this.renewal = undefined));
    return this.renewal;
  }

  private async renewedToken(): Promise<string | undefined> {
    if (!this.renewer) return undefined;
    const token = await this.renewer().catch(() => undefined);
    if (token !== undefined) this.currentToken = token;
    return token;
  }

  private build(): void {
    const wanted =
      this.closest<HTMLElement>('[lang]')?.lang ||
      document.documentElement.lang ||
      navigator.language;
    const language = new Language(wanted);
    const zone = this.state.zone ?? (this.getAttribute('time-zone') || undefined);
    const times = new TimeFormat(language.code, zone);
    const valuesOf = (qualifier: string) => this.valuesOf(qualifier);
    const search = new SearchBox({
      language,
      valuesOf,
      search: (q) => (q === this.state.q ? this.load() : this.change({ q })),
    });
    const organizations = (this.getAttribute('organizations') ?? '').split(',').filter(Boolean);
    const filters = new FilterBar({
      language,
      times,
      organizations: this.hasAttribute('organization') ? [] : organizations,
      valuesOf,
      change: (change) => this.change(change),
    });
    const chart = new DayChart({
      language,
      times,
      choose: (from, to) => this.change({ range: undefined, from, to }),
    });
    const timeline = new Timeline({
      language,
      times,
      open: (event) => this.open(event),
      scrolled: () => this.showWaiting(),
    });
    const detail = new EventDetail({
      language,
      times,
      close: () => this.closeDetail(),
      step: (step) => timeline.openBeside(step),
      similar: (qualifier, value) => {
        this.closeDetail();
        this.change({ q: withQualifier(this.state.q, qualifier, value) });
      },
      link: () => this.linkToEvent(),
    });
    const exporter = new ExportDialog(language, this.api);
    const help = this.helpDialog(language);
    const liveButton = h(
      'button',
      {
        type: 'button',
        class: 'button live',
        part: 'button',
        'aria-pressed': 'false',
        onclick: () => this.toggleLive(),
      },
      icon('live'),
      language.text('live'),
    );
    const orderLabel = h('span');
    const toolButton = (content: Child[], onclick: () => void, title?: string) =>
      h(
        'button',
        { type: 'button', class: 'button', part: 'button', onclick, title, 'aria-label': title },
        content,
      );
    const zoneMenu = new Menu(
      [icon('zone'), zone ?? localZone()],
      (close) => this.zonePanel(language, close),
      language.text('zone'),
      true,
    );
    const order = toolButton([icon('sort'), orderLabel], () =>
      this.change({ order: this.state.order === 'asc' ? 'desc' : 'asc' }),
    );
    const line = h('div', { class: 'first-line' }, search.element, liveButton);
    line.append(
      toolButton([icon('download'), language.text('export')], () => exporter.open(this.filter)),
    );
    const tools = h('div', { class: 'row-of-buttons tools' }, order, zoneMenu.element);
    tools.append(
      toolButton([icon('keyboard')], () => help.showModal(), language.text('shortcuts')),
    );
    const second = h('div', { class: 'second-line' }, filters.element, tools);
    const liveText = h('span', { role: 'status' });
    const liveShow = h('button', {
      type: 'button',
      class: 'button small primary',
      hidden: true,
      onclick: () => {
        this.closeDetail();
        timeline.scrollToTop();
        this.showWaiting();
      },
    });
    const liveLine = h('div', { class: 'live-line', hidden: true }, liveText, liveShow);
    const content = h('div', { class: 'content' });
    const viewer = h('div', {
      class: 'viewer',
      part: 'viewer',
      lang: language.code,
      onkeydown: (event: KeyboardEvent) => this.keyPressed(event),
    });
    viewer.append(
      h('div', { class: 'top', part: 'toolbar' }, line, second),
      chart.element,
      liveLine,
      h('div', { class: 'main' }, content, detail.element),
      exporter.element,
      help,
    );
    this.root.replaceChildren(viewer);
    timeline.connect();
    this.parts = {
      language,
      times,
      search,
      filters,
      chart,
      timeline,
      detail,
      export: exporter,
      help,
      content,
      liveButton,
      orderLabel,
      liveLine,
      liveText,
      liveShow,
    };
    this.showState();
  }

  private showState(): void {
    const { parts, state } = this;
    if (!parts) return;
    parts.search.value = state.q;
    parts.filters.show(state);
    const { language } = parts;
    replace(parts.orderLabel, language.text(state.order === 'asc' ? 'oldestFirst' : 'newestFirst'));
    parts.liveButton.setAttribute('aria-pressed', String(state.isLive));
    parts.liveButton.title = language.text(state.isLive ? 'liveStop' : 'liveStart');
    this.showLive();
  }

  /** Loads the list of the state from its beginning. */
  private load(): void {
    const { parts, state } = this;
    if (!parts) return;
    this.pages?.close();
    this.feed?.stop();
    this.feed = undefined;
    this.waiting = [];
    parts.search.showFault('', undefined);
    if (this.currentToken === undefined) {
      this.pages = undefined;
      if (!this.renewer) return this.showTokenNeeded('noTokenTitle', 'noTokenText');
      this.renew().then(
        (token) =>
          token === undefined ? this.showTokenNeeded('expiredTitle', 'expiredText') : this.begin(),
        () => undefined, // renew does not fail
      );
      return;
    }
    this.filter = filterOf(state, Date.now());
    const only = this.getAttribute('organization');
    if (only !== null) this.filter.set('organization_ids', only.replace(/,/g, '\\,'));
    const pages = new EventPages(
      (cursor, signal) => this.api.page(this.pageQuery(cursor), signal),
      () => this.pagesChanged(pages),
    );
    this.pages = pages;
    const lines = Array.from({ length: 12 }, () => h('i'));
    const skeleton = h('div', { class: 'skeleton', role: 'status' });
    skeleton.append(parts.language.text('loading'), ...lines);
    replace(parts.content, parts.timeline.element, skeleton);
    parts.timeline.showPages(pages);
    pages.extend();
    this.count();
    this.followOrStop();
  }

  /** Counts the events of the list by day, for the chart above it. */
  private count(): void {
    const { parts } = this;
    if (!parts) return;
    this.counting?.abort();
    this.counting = new AbortController();
    const { signal } = this.counting;
    const filter = new URLSearchParams(this.filter);
    const now = Date.now();
    const end = Math.min(now, Date.parse(filter.get('end_date') ?? '') - 1 || now);
    const start = filter.get('start_date') ?? new Date(end - CHART_DAYS * DAY_MS).toISOString();
    filter.set('start_date', start);
    const { times, language } = parts;
    const last = times.dateOf(new Date(end).toISOString());
    if (!parts.chart.prepare(times.dateOf(start), last)) return;
    const zone = times.zone ?? localZone();
    this.api.countsByDay(filter, zone, signal).then(
      (counts) => {
        if (signal.aborted) return;
        if (!counts) return parts.chart.hide();
        const note = this.filter.has('start_date') ? '' : language.text('range_30d');
        parts.chart.show(counts, note);
      },
      () => undefined, // another search
    );
  }

  private pageQuery(cursor: string | undefined): URLSearchParams {
    const query = new URLSearchParams(this.filter);
    query.set('limit', String(PAGE_SIZE));
    query.set('sort_direction', this.state.order);
    if (cursor !== undefined) query.set('cursor', cursor);
    return query;
  }

  private pagesChanged(pages: EventPages): void {
    const { parts } = this;
    if (!parts || pages !== this.pages) return;
    if (pages.count === 0 && pages.failure !== undefined) return this.showFailure(pages.failure);
    if (pages.count === 0 && pages.isAtEnd) {
      const isFiltered = !isUnfiltered(this.state);
      return isFiltered
        ? this.showMessage('emptyTitle', 'emptyText', {}, [
            this.messageButton('removeFilters', () =>
              this.change({ q: '', range: undefined, from: undefined, to: undefined }),
            ),
          ])
        : this.showMessage('nothingTitle', 'nothingText', {}, [
            this.messageButton('tryAgain', () => this.load()),
          ]);
    }
    if (pages.failure instanceof ApiError && pages.failure.status === 401) this.needToken();
    if (pages.count > 0) this.showList();
    parts.timeline.refresh();
  }

  private showList(): void {
    const { parts } = this;
    if (!parts) return;
    const isThere =
      parts.content.childElementCount === 1 &&
      parts.content.firstElementChild === parts.timeline.element;
    if (!isThere) replace(parts.content, parts.timeline.element);
  }

  private messageButton(label: keyof Texts, onclick: () => void): Node {
    const text = this.parts?.language.text(label) ?? '';
    return h('button', { type: 'button', class: 'button', onclick }, text);
  }

  private showMessage(
    title: keyof Texts,
    text: keyof Texts,
    values: Record<string, string | number> = {},
    buttons: Node[] = [],
  ): void {
    const { parts } = this;
    if (!parts) return;
    const { language } = parts;
    const message = h('div', { class: 'state', part: 'state', role: 'status' });
    message.append(
      h('h2', {}, language.text(title)),
      h('p', {}, language.text(text, values)),
      h('div', { class: 'row-of-buttons' }, buttons),
    );
    replace(parts.content, message);
  }

  private showTokenNeeded(title: keyof Texts, text: keyof Texts): void {
    this.showMessage(title, text, {}, [this.messageButton('tryAgain', () => this.load())]);
    this.needToken();
  }

  private needToken(): void {
    this.dispatchEvent(new CustomEvent('audit-token-needed', { bubbles: true, composed: true }));
  }

  private showFailure(error: unknown): void {
    const { parts } = this;
    if (!parts) return;
    const retry = [this.messageButton('tryAgain', () => this.load())];
    if (!(error instanceof ApiError)) return this.showMessage('errorTitle', 'errorText', {}, retry);
    const { status, requestId, retryAfterSeconds } = error;
    const fault = error.errors.find(({ path }) => path === 'q');
    if (status === 400 && fault) {
      parts.search.showFault(this.filter.get('q') ?? '', fault.message);
      return this.showMessage('invalidTitle', 'invalidText');
    }
    if (status === 401) return this.showTokenNeeded('expiredTitle', 'expiredText');
    if (status === 403) return this.showMessage('forbiddenTitle', 'forbiddenText', {}, retry);
    if (status === 0) return this.showMessage('offlineTitle', 'offlineText', {}, retry);
    if (status === 429 || status === 503) {
      const seconds = retryAfterSeconds ?? 5;
      return this.showMessage('busyTitle', 'busyText', { seconds }, retry);
    }
    this.showMessage('errorTitle', 'errorText', { id: requestId ?? String(status) }, retry);
  }

  // Live

  private toggleLive(): void {
    this.change({ isLive: !this.state.isLive });
  }

  private followOrStop(): void {
    this.feed?.stop();
    this.feed = undefined;
    this.waiting = [];
    this.isConnectedLive = false;
    const { pages } = this;
    if (this.state.isLive && pages) {
      this.feed = new LiveFeed(this.api, this.filter, {
        begun: () => this.catchUp(pages),
        arrived: (events) => this.arrived(pages, events),
        connected: (isConnected) => {
          this.isConnectedLive = isConnected;
          this.showLive();
        },
        refused: (error) => {
          if (pages !== this.pages) return;
          this.change({ isLive: false }, false);
          if (pages.count === 0 || error.status === 401) this.showFailure(error);
        },
      });
    }
    this.showLive();
  }

  /** Events between the loading of the list and the beginning of the feed are in the first page. */
  private catchUp(pages: EventPages): void {
    const { signal } = new AbortController();
    this.api.page(this.pageQuery(undefined), signal).then(
      ({ events }) => this.arrived(pages, [...events].reverse()),
      () => undefined, // the list says so, if it is broken
    );
  }

  private get isReading(): boolean {
    const { parts } = this;
    return parts !== undefined && (parts.detail.isOpen || !parts.timeline.isAtTop);
  }

  /** @param events in the order of their recording. */
  private arrived(pages: EventPages, events: ViewerEvent[]): void {
    if (pages !== this.pages || !this.parts) return;
    const known = new Set(this.waiting.map(keyOf));
    for (const event of pages.head()) known.add(keyOf(event));
    const fresh = events.filter((event) => !known.has(keyOf(event)));
    this.waiting.unshift(...fresh.reverse());
    this.showWaiting();
  }

  /** Puts new events on top, unless one reads further down. */
  private showWaiting(): void {
    const { parts, pages } = this;
    if (!parts || !pages || this.waiting.length === 0 || this.isReading) return this.showLive();
    if (this.waiting.length > MAX_WAITING || pages.live.length > MAX_WAITING) return this.load();
    const added = pages.prepend(this.waiting);
    this.waiting = [];
    if (added > 0) {
      this.showList();
      parts.timeline.refresh(added);
    }
    this.showLive();
  }

  private showLive(): void {
    const { parts, state } = this;
    if (!parts) return;
    const { language, liveLine, liveText, liveShow, liveButton } = parts;
    liveLine.hidden = !state.isLive;
    liveButton.classList.toggle('is-following', state.isLive && this.isConnectedLive);
    const paused = this.isReading ? 'livePaused' : 'liveFollowing';
    const text = language.text(this.isConnectedLive ? paused : 'liveReconnecting');
    if (liveText.textContent !== text) replace(liveText, text);
    liveShow.hidden = this.waiting.length === 0;
    const count = this.waiting.length;
    if (count > 0) replace(liveShow, language.text('newEvents', { count }));
  }

  // Detail

  private open(event: ViewerEvent): void {
    this.opening?.abort();
    const { id, organizationId } = event;
    this.showDetail(event);
    this.change({ event: id, eventOrganization: organizationId }, this.state.event === undefined);
    const detail = { id, organizationId };
    this.dispatchEvent(
      new CustomEvent('audit-event-open', { detail, bubbles: true, composed: true }),
    );
  }

  private showDetail(event: ViewerEvent): void {
    const { parts } = this;
    if (!parts) return;
    const wasOpen = parts.detail.isOpen;
    parts.detail.show(event);
    parts.timeline.markOpen(event);
    if (!wasOpen) parts.detail.focus();
    this.showLive();
  }

  private closeDetail(): void {
    const { parts } = this;
    if (!parts?.detail.isOpen) return;
    this.opening?.abort();
    parts.detail.close();
    parts.timeline.markOpen(undefined);
    parts.timeline.focus();
    this.change({ event: undefined, eventOrganization: undefined });
    this.showWaiting();
  }

  /** Opens the event of the URL. */
  private openOfState(): void {
    const { parts, state } = this;
    this.opening?.abort();
    if (!parts) return;
    if (state.event === undefined) {
      parts.detail.close();
      parts.timeline.markOpen(undefined);
      return;
    }
    if (this.currentToken === undefined) return;
    this.opening = new AbortController();
    const { signal } = this.opening;
    this.api.event(state.event, state.eventOrganization, signal).then(
      (event) => this.showDetail(event),
      (error: unknown) => {
        if (signal.aborted) return;
        const isMissing = error instanceof ApiError && [400, 403, 404, 409].includes(error.status);
        parts.detail.showMessage(parts.language.text(isMissing ? 'eventMissing' : 'eventFailed'));
      },
    );
  }

  private linkToEvent(): string {
    const url = new URL(location.href);
    const { event, eventOrganization } = this.state;
    if (event === undefined) return url.href;
    const state: ViewState = { ...this.state, event, isLive: false };
    if (eventOrganization !== undefined) state.eventOrganization = eventOrganization;
    url.search = queryOf(state, url.searchParams, this.urlPrefix ?? 'audit-');
    return url.href;
  }

  private valuesOf(qualifier: string): string[] {
    const counts = new Map<string, number>();
    const add = (value: string | null | undefined) => {
      if (value) counts.set(value, (counts.get(value) ?? 0) + 1);
    };
    for (const event of this.pages?.loaded() ?? []) {
      const { targets, targetResourceId, targetResourceType, sessionContext } = event;
      if (qualifier === 'actor' || qualifier === 'principal') add(event.principalId);
      else if (qualifier === 'action') add(event.action);
      else if (qualifier === 'actor_type') add(event.principalType);
      else if (qualifier === 'correlation') add(event.correlationId);
      else if (qualifier === 'session') add(sessionContext?.sessionId);
      else if (qualifier === 'ip') add(sessionContext?.ipAddress);
      else if (qualifier === 'target' || qualifier === 'resource')
        for (const id of targets?.map((target) => target.id) ?? [targetResourceId]) add(id);
      else if (qualifier === 'target_type' || qualifier === 'resource_type')
        for (const type of targets?.map((target) => target.type) ?? [targetResourceType]) add(type);
    }
    const byCount = [...counts].sort(([, one], [, other]) => other - one);
    return byCount.slice(0, MAX_VALUES).map(([value]) => value);
  }

  private zonePanel(language: Language, close: () => void): Child[] {
    const select = h('select', { 'aria-label': language.text('zone'), size: 10 });
    const local = language.text('localZone', { zone: localZone() });
    select.append(h('option', { value: '' }, local));
    for (const zone of allZones()) select.append(h('option', { value: zone }, zone));
    select.value = this.state.zone ?? '';
    // Not at `change`: with the keyboard one passes many on the way.
    const choose = () => {
      close();
      this.change({ zone: select.value === '' ? undefined : select.value });
    };
    select.addEventListener('click', choose);
    select.addEventListener('keydown', ({ key }) => key === 'Enter' && choose());
    return [select];
  }

  private helpDialog(language: Language): HTMLDialogElement {
    const keys: [string, keyof Texts][] = [
      ['/', 'key_search'],
      ['j k ↓ ↑', 'key_move'],
      ['Enter', 'key_open'],
      ['Esc', 'key_close'],
      ['l', 'key_live'],
      ['?', 'key_help'],
    ];
    const title = language.text('shortcuts');
    const dialog = h('dialog', { class: 'dialog', part: 'dialog', 'aria-label': title });
    const list = h('dl', { class: 'keys' });
    for (const [key, text] of keys) {
      const names = key.split(' ').flatMap((name) => [h('kbd', {}, name), ' ']);
      list.append(h('dt', {}, names), h('dd', {}, language.text(text)));
    }
    const button = { type: 'button', class: 'button', onclick: () => dialog.close() };
    dialog.append(
      h('h2', {}, title),
      list,
      h('div', { class: 'row-of-buttons at-end' }, h('button', button, language.text('close'))),
    );
    return dialog;
  }

  private keyPressed(event: KeyboardEvent): void {
    const { parts } = this;
    if (!parts || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const { target, key } = event;
    const isTyping = target instanceof HTMLInputElement || target instanceof HTMLSelectElement;
    if (this.root.querySelector('dialog[open]')) return;
    if (key === 'Escape' && parts.detail.isOpen) this.closeDetail();
    else if (isTyping) return;
    else if (key === '/') parts.search.focus();
    else if (key === 'l') this.toggleLive();
    else if (key === '?') parts.help.showModal();
    else if (key === 'j' && parts.detail.isOpen) parts.timeline.openBeside(1);
    else if (key === 'k' && parts.detail.isOpen) parts.timeline.openBeside(-1);
    else return;
    event.preventDefault();
  }
}

if (!customElements.get('audit-log-viewer')) {
  customElements.define('audit-log-viewer', AuditLogViewer);
}

declare global {
  interface HTMLElementTagNameMap {
    'audit-log-viewer': AuditLogViewer;
  }
}
