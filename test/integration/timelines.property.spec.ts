import fc from 'fast-check';
import { randomUUID } from 'node:crypto';
import type { Client } from 'pg';
import { EventFeed, type FeedEvent } from '../../src/audit/feed/event-feed';
import { AppError } from '../../src/platform/errors/app-error';
import { loseEventsBehind } from '../support/lost-commits';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';
import { newOrganization } from './two-replicas.fixture';
import { allowEventChanges } from '../support/event-changes';

/** What may happen to the log of an organization, and to its reader. */
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('write'), count: fc.integer({ min: 1, max: 4 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('lose'), count: fc.integer({ min: 1, max: 5 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('retain'), count: fc.integer({ min: 1, max: 4 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('read'), count: fc.integer({ min: 0, max: 6 }) }),
  },
);

interface Stored {
  id: string;
  sequence: number;
}

/** A log, and a reader who goes on from the last cursor that it has, over the real service. */
class World {
  readonly organization = newOrganization();
  /** Events that the reader has, in order, and since its last beginning. */
  private had: Stored[] = [];
  private cursor = '0';
  refusals = 0;

  constructor(
    private readonly service: TestService,
    private readonly admin: Client,
  ) {}

  async write(count: number): Promise<void> {
    const token = await tokenOf({ organizations: [this.organization] });
    const events = Array.from({ length: count }, () =>
      eventWith({ organizationId: this.organization }),
    );
    const { status } = await this.service.post(`${EVENTS}/bulk`, token, { events });
    expect(status).toBe(201);
  }

  async lose(count: number): Promise<void> {
    const head = await this.head();
    await loseEventsBehind(this.admin, this.organization, Math.max(0, head - count));
  }

  /** Retention removes whatever is old enough, wherever it stands, and moves the version. */
  async retain(count: number): Promise<void> {
    await allowEventChanges(this.admin);
    await this.admin.query(
      `DELETE FROM audit_event WHERE organization_id = $1 AND sequence IN (
         SELECT sequence FROM audit_event WHERE organization_id = $1 ORDER BY md5(sequence::text) LIMIT $2)`,
      [this.organization, count],
    );
    await this.admin.query(
      'UPDATE audit_organization SET recorded_at = clock_timestamp() WHERE organization_id = $1',
      [this.organization],
    );
  }

  /** Takes up to `count` events behind the cursor, then leaves. */
  async read(count: number): Promise<void> {
    const wanted = (await this.stored()).filter(
      ({ sequence }) => sequence > Number(this.cursor.split('.')[0]),
    );
    const taken: Stored[] = [];
    try {
      const expected = Math.min(count, wanted.length);
      for await (const { text, cursor } of this.follow(expected)) {
        taken.push(storedIn(text));
        this.cursor = cursor ?? '';
      }
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'TIMELINE_CHANGED') throw error;
      // Told clearly: it begins again. What it had so far was the history of then.
      this.refusals += 1;
      expect(taken).toEqual([]);
      this.cursor = '0';
      this.had = [];
      return;
    }
    expect(taken).toEqual(wanted.slice(0, taken.length));
    this.had.push(...taken);
    await this.compare();
  }

  /** Whatever is stored up to the reader's place is what it has: nothing is left out, and nothing twice. */
  private async compare(): Promise<void> {
    const last = Number(this.cursor.split('.')[0]);
    const there = (await this.stored()).filter(({ sequence }) => sequence <= last);
    const ids = new Set(this.had.map(({ id }) => id));
    expect(ids.size).toBe(this.had.length);
    expect(there.filter(({ id }) => !ids.has(id))).toEqual([]);
  }

  private async *follow(count: number): AsyncGenerator<FeedEvent> {
    const principal = {
      subject: randomUUID(),
      scopes: new Set(['audit:read']),
      organizations: [this.organization],
      expiresAtMs: Date.now() + 3_600_000,
    };
    const leaving = new AbortController();
    const feed = this.service.provider(EventFeed).follow(principal, {
      ...{ filter: {}, after: this.cursor, signal: leaving.signal, kind: 'sse' },
    });
    try {
      await feed.begun;
      for (let taken = 0; taken < count; taken += 1) {
        const { done, value } = await feed.next();
        if (done) return;
        yield value;
      }
    } finally {
      leaving.abort();
      await feed.return(undefined);
    }
  }

  private async head(): Promise<number> {
    const { rows } = await this.admin.query<{ last: number }>(
      'SELECT last_sequence::int AS last FROM audit_organization WHERE organization_id = $1',
      [this.organization],
    );
    return rows[0]?.last ?? 0;
  }

  private async stored(): Promise<Stored[]> {
    const { rows } = await this.admin.query<Stored>(
      'SELECT id::text, sequence::int FROM audit_event WHERE organization_id = $1 ORDER BY sequence',
      [this.organization],
    );
    return rows;
  }
}

function storedIn(text: string): Stored {
  const { id, sequence } = JSON.parse(text) as { id: string; sequence: string };
  return { id, sequence: Number(sequence) };
}

describe('a reader that goes on from its last cursor', () => {
  let service: TestService;
  let admin: Client;

  beforeAll(async () => {
    service = await TestService.start({ REDIS_URL: '' });
    admin = await service.connect();
  });

  afterAll(async () => {
    await admin?.end();
    await service?.stop();
  });

  it('gets every event that is still there once, or learns that the log is another one', async () => {
    let refusals = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 14 }), async (steps) => {
        const world = new World(service, admin);
        await world.write(2);
        for (const { kind, count } of steps) {
          await world[kind](count);
        }
        await world.read(100);
        refusals += world.refusals;
      }),
      { numRuns: 60 },
    );
    expect(refusals).toBeGreaterThan(0);
  }, 120_000);
});
