import { Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { Database } from '../../platform/database/database';
import { AppError, type FieldError } from '../../platform/errors/app-error';
import { abortable, abortReason } from '../../platform/runtime/abort';
import type { NewEvent } from '../event/audit-event';
import type { CreateAuditEventDto } from '../event/dto/create-audit-event.dto';
import { CompiledSchema } from './compiled-schema';
import { type Content, contentOf, contentOfDto } from './event-instance';
import { readSchema } from './schema-document';
import { type ActiveSettings, type SchemaKey, SchemaStore } from './schema-store';

/** Age of the settings after which a write has them read again, without waiting. */
const REFRESH_MS = 1000;
/** Age beyond which writes wait for them: a change takes effect on every replica within this time. */
export const MAX_STALE_MS = 5000;
/** Compiled schemas; one of 500 subschemas takes some 600 KB, a usual one 30. */
const MAX_COMPILED = 2000;
const MAX_COMPILED_BYTES = 64 * 1024 * 1024;
/** Memory of a compiled schema by its text. */
const BYTES_PER_CHARACTER = 40;
const BYTES_PER_SCHEMA = 24 * 1024;
/** Organizations whose versions are known, and versions of all of them. */
const MAX_ORGANIZATIONS = 10_000;
const MAX_KNOWN_VERSIONS = 200_000;
/** An organization's faults in mode `warn` are logged once in this time. */
const LOG_INTERVAL_MS = 60_000;
/** Work after which others get the event loop. */
const SLICE_MS = 5;

/** Faults by the index of the event, with paths in the event. */
export type EventFaults = ReadonlyMap<number, readonly FieldError[]>;

/** The versions of an action's schema: the newest one, and the id of each. */
interface ActionVersions {
  newest: string;
  ids: Map<string, string>;
}

/** The versions of an organization's schemas as of a revision, by action. */
interface Versions {
  revision: string;
  size: number;
  byAction: ReadonlyMap<string, ActionVersions>;
}

/** The schema that an event is checked against: one, none, or a version that does not exist. */
type Rule = { key: SchemaKey; id: string } | 'none' | 'unknown version';

/**
 * Checks events against the schemas of their organizations. Settings are read at most once a second, schemas when they are
 * first needed: a write makes no query unless something has changed. Where neither can be read nothing is let through.
 */
@Injectable()
export class EventSchemas implements OnModuleInit {
  private readonly logger = new Logger('EventSchemas');
  private active: ActiveSettings = { tag: '', settings: new Map() };
  private readAtMs = -Infinity;
  /** The last of the refreshes under way. */
  private refreshing: Promise<void> | undefined;
  private readonly versions = new LRUCache<string, Versions>({
    max: MAX_ORGANIZATIONS,
    maxSize: MAX_KNOWN_VERSIONS,
    sizeCalculation: ({ size }) => size + 1,
  });
  private readonly compiled = new LRUCache<string, CompiledSchema>({
    max: MAX_COMPILED,
    maxSize: MAX_COMPILED_BYTES,
  });
  /** Of events that were checked before their request waits. */
  private readonly results = new WeakMap<NewEvent, readonly FieldError[]>();
  private readonly loading = new Map<string, Promise<unknown>>();
  private readonly logged = new LRUCache<string, { atMs: number; since: number }>({ max: 1000 });
  private readonly counts = { checked: 0, warned: 0, refused: 0, compilations: 0 };

  constructor(
    private readonly store: SchemaStore,
    private readonly database: Database,
  ) {}

  onModuleInit(): Promise<void> {
    return this.refresh();
  }

  statistics() {
    return {
      ...this.counts,
      compiled: this.compiled.size,
      organizations: this.active.settings.size,
    };
  }

  /**
   * Reads the settings, after those that are being read: these may be of before a change of the caller, and must not come last.
   * @throws AppError DATABASE_UNAVAILABLE
   */
  refresh(): Promise<void> {
    const before = this.refreshing ?? Promise.resolve();
    const begun = before
      .catch(() => undefined)
      .then(() => this.readSettings())
      .finally(() => {
        if (this.refreshing === begun) this.refreshing = undefined;
      });
    this.refreshing = begun;
    return begun;
  }

  /**
   * Checks an event while what it was made from is at hand, unless something has to be loaded or is too old: `check` then
   * uses the result.
   */
  checkParsed(event: NewEvent, dto: CreateAuditEventDto): void {
    const { settings } = this.active;
    if (settings.size === 0 || !settings.has(event.organizationId)) return;
    if (performance.now() - this.readAtMs > MAX_STALE_MS) return;
    const faults = this.knownFaultsOf(event, () => contentOfDto(event, dto));
    if (faults) this.results.set(event, faults);
  }

  /**
   * The faults for which these events may not be stored; undefined where there is nothing to wait for. Faults in mode `warn`
   * are counted and logged, and are none here.
   * @throws AppError DATABASE_UNAVAILABLE when schemas cannot be read; the reason of the signal.
   */
  check(
    events: readonly NewEvent[],
    signal: AbortSignal | undefined,
  ): Promise<EventFaults> | undefined {
    if (this.database.unconfirmedCommits.isStalled) return undefined; // the writer refuses
    const ageMs = performance.now() - this.readAtMs;
    if (ageMs > REFRESH_MS && !this.refreshing) this.refresh().catch(() => undefined);
    if (ageMs <= MAX_STALE_MS) {
      const { settings } = this.active;
      if (settings.size === 0) return undefined;
      if (!events.some(({ organizationId }) => settings.has(organizationId))) return undefined;
    }
    return this.checkAll(events, signal);
  }

  private async checkAll(
    events: readonly NewEvent[],
    signal: AbortSignal | undefined,
  ): Promise<EventFaults> {
    if (performance.now() - this.readAtMs > MAX_STALE_MS) {
      await unlessAborted(this.refreshing ?? this.refresh(), signal);
    }
    const faults = new Map<number, readonly FieldError[]>();
    let sliceStartMs = performance.now();
    for (const [index, event] of events.entries()) {
      const mode = this.active.settings.get(event.organizationId)?.mode;
      if (mode === undefined) continue;
      const found =
        this.results.get(event) ??
        this.knownFaultsOf(event, () => contentOf(event)) ??
        (await this.loadedFaultsOf(event, signal));
      if (found.length > 0) {
        if (mode === 'enforce') faults.set(index, found);
        else this.warn(event, found);
      }
      if (performance.now() - sliceStartMs < SLICE_MS) continue;
      await new Promise((resolve) => setImmediate(resolve));
      if (signal?.aborted) throw abortReason(signal);
      sliceStartMs = performance.now();
    }
    this.counts.refused += faults.size;
    return faults;
  }

  /** Undefined where something has to be loaded first. */
  private knownFaultsOf(
    event: NewEvent,
    content: () => Content,
  ): readonly FieldError[] | undefined {
    const versions = this.knownVersions(event.organizationId);
    if (!versions) return undefined;
    const rule = ruleFor(event, versions);
    if (rule === 'none') return NO_FAULTS;
    if (rule === 'unknown version') return UNKNOWN_VERSION;
    const schema = this.compiled.get(rule.id);
    return schema && this.faultsBy(schema, rule, content());
  }

  private async loadedFaultsOf(
    event: NewEvent,
    signal: AbortSignal | undefined,
  ): Promise<readonly FieldError[]> {
    const { organizationId } = event;
    const versions =
      this.knownVersions(organizationId) ??
      (await unlessAborted(this.loadVersions(organizationId), signal));
    const rule = ruleFor(event, versions);
    if (rule === 'none') return NO_FAULTS;
    if (rule === 'unknown version') return UNKNOWN_VERSION;
    const schema = this.compiled.get(rule.id) ?? (await unlessAborted(this.compile(rule), signal));
    return this.faultsBy(schema, rule, contentOf(event));
  }

  private faultsBy(
    schema: CompiledSchema,
    { key }: Exclude<Rule, string>,
    { value, inexact }: Content,
  ): readonly FieldError[] {
    this.counts.checked += 1;
    const faults = schema.faultsOf(value, inexact);
    if (!faults) return NO_FAULTS;
    return faults.map(({ path, message }) => {
      return { path, message: `${message} (version ${key.version} of the schema of its action)` };
    });
  }

  private knownVersions(organizationId: string): Versions | undefined {
    const known = this.versions.get(organizationId);
    const current = this.active.settings.get(organizationId)?.revision;
    return known && known.revision === current ? known : undefined;
  }

  private loadVersions(organizationId: string): Promise<Versions> {
    const revision = this.active.settings.get(organizationId)?.revision ?? '';
    return this.once(`${organizationId}\0${revision}`, async () => {
      const rows = await this.store.findActiveVersions(organizationId);
      const byAction = new Map<string, ActionVersions>();
      for (const { action, version, id } of rows) {
        const { ids } = byAction.get(action) ?? { ids: new Map<string, string>() };
        byAction.set(action, { newest: version, ids: ids.set(version, id) });
      }
      const versions = { revision, size: rows.length, byAction };
      this.versions.set(organizationId, versions);
      return versions;
    });
  }

  private compile({ key, id }: Exclude<Rule, string>): Promise<CompiledSchema> {
    return this.once(id, async () => {
      const found = await this.store.find(key);
      if (!found) throw new AppError('DATABASE_UNAVAILABLE', 'A schema has gone: try again.');
      const schema = new CompiledSchema(readSchema(found.text));
      this.counts.compilations += 1;
      const size = BYTES_PER_SCHEMA + BYTES_PER_CHARACTER * found.text.length;
      this.compiled.set(id, schema, { size });
      return schema;
    });
  }

  /** Shares work of one name between those that wait for it. */
  private once<T>(name: string, work: () => Promise<T>): Promise<T> {
    const running = this.loading.get(name) as Promise<T> | undefined;
    if (running) return running;
    const begun = work().finally(() => this.loading.delete(name));
    this.loading.set(name, begun);
    return begun;
  }

  private async readSettings(): Promise<void> {
    const startedMs = performance.now();
    const tag = await this.store.findTag();
    if (tag !== this.active.tag) {
      // Read behind the tag: a change in between is found by the next one.
      this.active = { tag, settings: await this.store.findActiveSettings() };
    }
    this.readAtMs = startedMs;
  }

  private warn({ organizationId, action }: NewEvent, [first]: readonly FieldError[]): void {
    this.counts.warned += 1;
    const known = this.logged.get(organizationId);
    const nowMs = performance.now();
    if (known && nowMs - known.atMs < LOG_INTERVAL_MS) {
      known.since += 1;
      return;
    }
    this.logged.set(organizationId, { atMs: nowMs, since: 0 });
    const others = known?.since ? `; ${known.since} more since the last line` : '';
    const name = JSON.stringify({ organizationId, action }).slice(0, 600);
    this.logger.warn(
      `An event does not match its schema: ${first?.path.slice(0, 200)} ${first?.message}${others}. ${name}`,
    );
  }
}

const NO_FAULTS: readonly FieldError[] = [];
const UNKNOWN_VERSION: readonly FieldError[] = [
  { path: 'schemaVersion', message: 'is no registered version of the schema of its action' },
];

function ruleFor(event: NewEvent, { byAction }: Versions): Rule {
  const { organizationId, action, schemaVersion } = event;
  const versions = byAction.get(action);
  const version = schemaVersion ?? versions?.newest;
  if (version === undefined) return 'none';
  const id = versions?.ids.get(version);
  if (id === undefined) return 'unknown version';
  return { key: { organizationId, action, version }, id };
}

function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return signal ? abortable(work, signal) : work;
}
