import { Injectable, Logger } from '@nestjs/common';
import { LRUCache } from 'lru-cache';

/** Limit of known organizations: some 100 bytes each beside their names. */
const MAX_KNOWN = 10_000;
/** Window that joins reports: a failover takes all organizations back. */
const REPORT_MS = 1000;
/** Interval between two reports of an organization, which several parts of the service find. */
const REPEAT_MS = 60_000;
export const LOSS_ALERT_MS = 15 * 60_000;

export interface LogLosses {
  recent: number;
  /** Range of the first loss; `to` is undefined when only `from` was assigned again. */
  from: number;
  to: number | undefined;
}

/** Head of a log, and the ordinal of its latest question. */
interface Known {
  sequence: number;
  micros: number;
  at: number;
  /** The head before, for results of earlier questions. */
  before?: Omit<Known, 'before'>;
}

export interface SeenHead {
  sequence: number;
  /** Microseconds since 1970, 0 when not known. */
  micros: number;
}

/**
 * Detects and reports that PostgreSQL has lost commits, in a failover to a lagging standby or a restore: a log went
 * back, or numbers were assigned again. Refusals of readers depend on stored rows (read/position.ts) instead.
 */
@Injectable()
export class LogTimeline {
  private readonly logger = new Logger('LogTimeline');
  private readonly known = new LRUCache<string, Known>({ max: MAX_KNOWN });
  private readonly reported = new LRUCache<string, true>({ max: MAX_KNOWN, ttl: REPEAT_MS });
  private questions = 0;
  private rewinds = 0;
  private refusedPositions = 0;
  private serverChanges = 0;
  private server: { name: string; timeline: number } | undefined;
  private report: { count: number; from: number; to: number | undefined } | undefined;
  /** Losses with less than LOSS_ALERT_MS between them: count, the first one, and the time of the last. */
  private last: { count: number; from: number; to: number | undefined; atMs: number } | undefined;

  /** Takes an ordinal before a question to PostgreSQL: results may arrive out of order. */
  ask(): number {
    this.questions += 1;
    return this.questions;
  }

  /**
   * Checks for a head older than the known one. Of equal numbers the later may have been moved by retention, forwards.
   */
  isOlder(organizationId: string, head: SeenHead, asked: number): boolean {
    const known = this.knownBefore(organizationId, asked);
    if (!known) return false;
    if (head.sequence !== known.sequence) return head.sequence < known.sequence;
    return head.micros < known.micros;
  }

  /** Checks that numbers from `first` on had been assigned before question `asked`. */
  isGivenAgain(organizationId: string, first: number, asked: number): boolean {
    const known = this.knownBefore(organizationId, asked);
    return known !== undefined && first <= known.sequence;
  }

  note(organizationId: string, { sequence, micros }: SeenHead): void {
    const known = this.known.get(organizationId);
    if (known && known.sequence === sequence && known.micros === micros) return;
    if (
      known &&
      (sequence < known.sequence || (sequence === known.sequence && micros < known.micros))
    ) {
      return; // an older result
    }
    const before = known && { sequence: known.sequence, micros: known.micros, at: known.at };
    this.known.set(organizationId, { sequence, micros, at: this.questions, before });
  }

  /** Reports once that a log went back to the head `to`, where known. */
  noteRewind(organizationId: string, from: number | bigint, to?: number | bigint): void {
    this.known.delete(organizationId);
    if (this.reported.has(organizationId)) return;
    this.reported.set(organizationId, true);
    this.rewinds += 1;
    const found = { from: Number(from), to: to === undefined ? undefined : Number(to) };
    if (this.report) {
      this.report.count += 1;
    } else {
      this.report = { count: 1, ...found };
      setTimeout(() => this.logReport(), REPORT_MS).unref();
    }
    const last = this.currentLoss();
    const atMs = performance.now();
    this.last = last
      ? { ...last, count: last.count + 1, atMs }
      : { ...this.report, count: 1, atMs };
  }

  noteRewindTo(organizationId: string, to: number): void {
    this.noteRewind(organizationId, this.known.get(organizationId)?.sequence ?? to, to);
  }

  noteRefusedPosition(): void {
    this.refusedPositions += 1;
  }

  /**
   * Notes the replying server.
   * @param name changes with each start of each server.
   * @param timeline PostgreSQL's number, which grows with each promotion and each recovery to a point in time.
   */
  noteServer(name: string, timeline: number): void {
    const before = this.server;
    if (before?.name === name && before.timeline === timeline) return;
    this.server = { name, timeline };
    if (!before) return;
    this.serverChanges += 1;
    const how =
      before.timeline === timeline
        ? `It was restarted or restored, or is another one (timeline ${timeline}).`
        : `Its timeline is ${timeline}, that of the one before was ${before.timeline}: a standby was promoted, or a backup recovered.`;
    this.logger.warn(
      `Another PostgreSQL server answers. ${how} Whether commits were lost shows with the numbers of events; see "Read replicas" and "Backup" in docs/operations.md.`,
    );
  }

  /** Counts since the start, and the server's timeline (0: not known). */
  statistics(): { rewinds: number; refused: number; serverChanges: number; timeline: number } {
    return {
      rewinds: this.rewinds,
      refused: this.refusedPositions,
      serverChanges: this.serverChanges,
      timeline: this.server?.timeline ?? 0,
    };
  }

  losses(): LogLosses {
    const last = this.currentLoss();
    return last
      ? { recent: last.count, from: last.from, to: last.to }
      : { recent: 0, from: 0, to: undefined };
  }

  private currentLoss(): typeof this.last {
    const { last } = this;
    return last && performance.now() - last.atMs <= LOSS_ALERT_MS ? last : undefined;
  }

  private knownBefore(organizationId: string, asked: number): Omit<Known, 'before'> | undefined {
    const known = this.known.get(organizationId);
    if (!known || known.at < asked) return known;
    return known.before && known.before.at < asked ? known.before : undefined;
  }

  private logReport(): void {
    const { report } = this;
    this.report = undefined;
    if (!report) return;
    const { count, from, to } = report;
    const numbers =
      to === undefined ? `number ${from} was given again` : `from ${from} back to ${to}`;
    const others = count === 1 ? '' : `, ${count - 1} more organizations likewise`;
    this.logger.error(
      `PostgreSQL has lost acknowledged events: the log of an organization went back (${numbers}${others}). Their feeds were ended ` +
        'with TIMELINE_CHANGED, and readers have to begin again from a position that still exists. Look whether a standby ' +
        'was promoted or a backup restored, and compare with the old primary; see EVENTS_LOST in docs/operations.md.',
    );
  }
}
