import { Injectable, Logger } from '@nestjs/common';
import { LRUCache } from 'lru-cache';

/** What is known of organizations: some 100 bytes each beside their names. */
const MAX_KNOWN = 10_000;
/** Organizations that went back are reported together, as a failover takes all of them back. */
const REPORT_MS = 1000;
/** An organization that was found back by one part of the service is found by others soon. */
const REPEAT_MS = 60_000;
/** How long an operator is told that events were lost. */
export const LOSS_ALERT_MS = 15 * 60_000;

/** Logs that went back within LOSS_ALERT_MS. */
export interface LogLosses {
  /** Organizations. */
  recent: number;
  /** The numbers between which the log of one of them went back; `to` is undefined when only `from` was given again. */
  from: number;
  to: number | undefined;
}

/** How far a log was, and when this process had learnt it, counted in questions asked. */
interface Known {
  sequence: number;
  micros: number;
  at: number;
  /** What was known before that: for answers to questions that were asked before the newest. */
  before?: Omit<Known, 'before'>;
}

/** The head of a log as an answer gives it. */
export interface SeenHead {
  sequence: number;
  /** When it moved last: microseconds since 1970, 0 when that is not known. */
  micros: number;
}

/**
 * Notices that PostgreSQL has lost commits: that the log of an organization went back, or numbers are given again, which
 * happens after a failover to a standby that lagged behind and after a restore. Says so in the log, in figures and to the
 * alerts. It decides nothing: readers are refused by what is stored (log-position.ts), whether this class knows or not.
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
  /** Of those found with no quarter of an hour between them: how many, the first of them, and when the last was found. */
  private last: { count: number; from: number; to: number | undefined; atMs: number } | undefined;

  /** To be called before PostgreSQL is asked for what is then given to `noteHead`: answers may arrive out of order. */
  ask(): number {
    this.questions += 1;
    return this.questions;
  }

  /**
   * Whether a head, as the answer to question `asked` shows it, lies behind what was known before it was asked. Of two
   * heads with the same number, retention may have moved the later one on, and never back.
   */
  isBehind(organizationId: string, head: SeenHead, asked: number): boolean {
    const known = this.knownBefore(organizationId, asked);
    if (!known) return false;
    if (head.sequence !== known.sequence) return head.sequence < known.sequence;
    return head.micros < known.micros;
  }

  /** Whether numbers from `first` on, given by a write that began at question `asked`, had been given before. */
  isGivenAgain(organizationId: string, first: number, asked: number): boolean {
    const known = this.knownBefore(organizationId, asked);
    return known !== undefined && first <= known.sequence;
  }

  /** Remembers a committed head. */
  note(organizationId: string, { sequence, micros }: SeenHead): void {
    const known = this.known.get(organizationId);
    if (known && known.sequence === sequence && known.micros === micros) return;
    if (
      known &&
      (sequence < known.sequence || (sequence === known.sequence && micros < known.micros))
    ) {
      return; // an older answer
    }
    const before = known && { sequence: known.sequence, micros: known.micros, at: known.at };
    this.known.set(organizationId, { sequence, micros, at: this.questions, before });
  }

  /** Counts and reports that a log went back, `to` a head where that is known. Once for all that find it. */
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
      setTimeout(() => this.tell(), REPORT_MS).unref();
    }
    const last = this.currentLoss();
    const atMs = performance.now();
    this.last = last
      ? { ...last, count: last.count + 1, atMs }
      : { ...this.report, count: 1, atMs };
  }

  /** The same, where what was known before says from where it went back. */
  noteRewindTo(organizationId: string, to: bigint): void {
    this.noteRewind(organizationId, this.known.get(organizationId)?.sequence ?? Number(to), to);
  }

  /** Counts a position that a reader brought and that is of another timeline. */
  noteRefusedPosition(): void {
    this.refusedPositions += 1;
  }

  /**
   * Notes which server answers: `name` is another one for each start of each server.
   * @param timeline PostgreSQL's number of it, which grows with each promotion and each recovery to a point in time.
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

  /** Rewinds, refused positions and changes of the server since the start, and the server's timeline (0: not known). */
  statistics(): { rewinds: number; refused: number; serverChanges: number; timeline: number } {
    return {
      rewinds: this.rewinds,
      refused: this.refusedPositions,
      serverChanges: this.serverChanges,
      timeline: this.server?.timeline ?? 0,
    };
  }

  /** What an operator is to be told of now. */
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

  private tell(): void {
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
