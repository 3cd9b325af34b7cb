import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../integration/until.fixture';
import type { StoredRow } from './stored-rows.fixture';

/** An event as a consumer got it. */
export interface Delivery {
  organizationId: string;
  sequence: string;
  id: string;
}

/** One connection of a consumer, or one series of pages. */
export interface Connection {
  /** What came over it, in order. */
  readonly deliveries: readonly Delivery[];
  /** With what the next connection goes on behind the last delivery; undefined when there was none yet. */
  readonly position: string | undefined;
  /** The code of the error with which the service ended or refused it. */
  readonly refusal: string | undefined;
  readonly isOver: boolean;
  close(): Promise<void>;
}

/** Connects behind a position; undefined stands for the beginning, or from now on where there is no beginning. */
export type Connect = (
  url: string,
  token: string,
  position: string | undefined,
) => Promise<Connection>;

/** What a reader of pages finds out by itself: another event where it had taken one. */
export const PAGE_CHANGED = 'PAGE_CHANGED';
/** What says that a position is of no use any more; after other refusals a client comes again with the same one. */
const BEGIN_ANEW = new Set(['TIMELINE_CHANGED', 'INVALID_CURSOR', PAGE_CHANGED]);
const PAUSE_MS = 50;

/**
 * A client that follows some organizations as it should: it goes on from its last position when a connection ends, at
 * the other replica, and begins anew, with nothing in its hands, when it is told that its position is of no use.
 */
export class Consumer {
  /** What it was told, each time that it had to begin anew. */
  readonly restarts: string[] = [];
  /** Resolves once it is connected: what is recorded from then on it must get. */
  readonly begun: Promise<void>;
  private noteBegun: () => void = () => undefined;
  private kept: Delivery[] = [];
  private position: string | undefined;
  private connection: Connection | undefined;
  private isDone = false;
  private readonly running: Promise<void>;

  constructor(
    readonly name: string,
    private readonly organizations: readonly string[],
    private readonly source: {
      connect: Connect;
      urls: readonly string[];
      token: string;
      /** Whether it can begin with the first event of all; else it begins with the next one. */
      hasBeginning: boolean;
    },
  ) {
    this.begun = new Promise((resolve) => (this.noteBegun = resolve));
    this.running = this.run();
  }

  /** Why what it has is not what is stored: undefined when it has each event once, in order. */
  fault(rows: readonly StoredRow[]): string | undefined {
    const all = [...this.kept, ...(this.connection?.deliveries ?? [])];
    for (const organization of this.organizations) {
      const own = all.filter(({ organizationId }) => organizationId === organization);
      const stored = rows.filter((row) => row.organization === organization);
      const had = own.map(({ sequence, id }) => `${sequence} ${id}`);
      const owed = stored.map(({ sequence, id }) => `${sequence} ${id}`);
      // One that began anew from now on has the newest only, without a gap.
      const isPartial = this.restarts.length > 0 && !this.source.hasBeginning;
      const from = isPartial ? owed.length - had.length : 0;
      const wrong = had.findIndex((each, index) => each !== owed[from + index]);
      const at = wrong === -1 ? had.length : wrong;
      if (wrong === -1 && from + had.length === owed.length) continue;
      const told = this.restarts.length === 0 ? 'no error' : this.restarts.join();
      return (
        `${this.name} of ${organization}, told ${told}: ${had.length} of ${owed.length}; ` +
        `at ${at} it has ${had[at] ?? 'nothing'} where ${owed[from + at] ?? 'nothing'} is stored`
      );
    }
    return undefined;
  }

  async stop(): Promise<void> {
    this.isDone = true;
    await this.connection?.close();
    await this.running;
  }

  private async run(): Promise<void> {
    const { connect, urls, token } = this.source;
    for (let attempt = 0; !this.isDone; attempt += 1) {
      const url = urls[attempt % urls.length] ?? '';
      const connection = await connect(url, token, this.position);
      this.connection = connection;
      if (!connection.isOver) this.noteBegun();
      await until(() => connection.isOver || this.isDone);
      await connection.close();
      this.take(connection);
      await sleep(PAUSE_MS);
    }
  }

  private take({ deliveries, position, refusal }: Connection): void {
    this.kept.push(...deliveries);
    this.connection = undefined;
    if (position !== undefined) this.position = position;
    if (refusal === undefined || !BEGIN_ANEW.has(refusal)) return;
    this.restarts.push(refusal);
    this.kept = [];
    this.position = undefined;
  }
}

/** Slow machines need some seconds; a consumer that has not caught up by then will not. */
const CATCH_UP_MS = 30_000;

/** Fails unless each of them comes to have exactly what is stored. */
export async function expectCaughtUp(
  consumers: readonly Consumer[],
  rows: readonly StoredRow[],
): Promise<void> {
  const faults = () => consumers.flatMap((consumer) => consumer.fault(rows) ?? []);
  const deadline = performance.now() + CATCH_UP_MS;
  let found = faults();
  while (found.length > 0 && performance.now() < deadline) {
    await sleep(PAUSE_MS); // each look reads all that has come
    found = faults();
  }
  expect(found).toEqual([]);
}
