import fc from 'fast-check';
import { Client } from 'pg';
import { clientEvent, newEvent, openReplica, type Replica, writeRequest } from './replica.fixture';
import { newOrganization, useTwoReplicas } from './two-replicas.fixture';
import { until } from './until.fixture';
import { openNetworkPath } from './network-path.fixture';
import { allowEventChanges } from '../support/event-changes';

const APPLICATION = 'audit-server versions';

function write({ writer }: Replica, organizationId: string, events = 1): Promise<unknown> {
  return writer.write(
    writeRequest(Array.from({ length: events }, () => newEvent({ organizationId }))),
  );
}

describe('the versions of organizations', () => {
  const replicas = useTwoReplicas();

  /** Runs statements in a transaction of somebody else and leaves it open. */
  async function uncommitted(statement: string): Promise<Client> {
    const client = new Client({ connectionString: replicas.test.url });
    await client.connect();
    await client.query('BEGIN');
    await client.query(statement);
    return client;
  }

  it('are 0 without organizations, and count organizations without events as 0', async () => {
    const { versions } = replicas.one;
    expect(await versions.current([])).toBe('0');
    expect(await versions.current([newOrganization()])).toBe('0.0');
    expect(await versions.current([newOrganization(), newOrganization()])).toBe('0.0');
  });

  it('tell the last sequence and when it was recorded', async () => {
    const { one, admin } = replicas;
    const id = newOrganization();
    await write(one, id, 3);
    const { rows } = await admin.query<{ micros: string }>(
      `SELECT (extract(epoch FROM recorded_at) * 1000000)::bigint::text AS micros
       FROM audit_event WHERE organization_id = $1 AND sequence = 3`,
      [id],
    );
    const time = Number(rows[0]?.micros).toString(36);
    expect(await one.versions.current([id])).toBe(`3.${time}`);
    expect(await one.versions.current([newOrganization(), id])).toBe(`3.${time}`);
  });

  it('add up beyond the exact integers of a double', async () => {
    const { one, admin } = replicas;
    const ids = [newOrganization(), newOrganization()];
    await admin.query(
      `INSERT INTO audit_organization (organization_id, last_sequence, recorded_at)
       VALUES ($1, 9007199254740993, '2026-01-01Z'), ($2, 9007199254740993, '2026-01-02 00:00:00.000001Z')`,
      ids,
    );
    const times = (Date.parse('2026-01-01') + Date.parse('2026-01-02')) * 1000 + 1;
    expect(await one.versions.current(ids)).toBe(`18014398509481986.${times.toString(36)}`);
    expect(await one.versions.current(ids.slice(0, 1))).toMatch(/^9007199254740993\./);
    expect(await one.versions.current('*')).toMatch(/^1801439850948\d{4}\./);
    await admin.query('DELETE FROM audit_organization WHERE organization_id = ANY($1)', [ids]);
  });

  it('differ when a number is given a second time', async () => {
    const { one, admin } = replicas;
    const id = newOrganization();
    await write(one, id, 5);
    const [before, beforeAll] = [await one.versions.current([id]), await one.versions.current('*')];
    // As if the last two had been lost by a failover.
    await allowEventChanges(admin);
    await admin.query('DELETE FROM audit_event WHERE organization_id = $1 AND sequence > 3', [id]);
    await admin.query(
      'UPDATE audit_organization SET last_sequence = 3 WHERE organization_id = $1',
      [id],
    );
    await write(one, id, 2);
    const after = await one.versions.current([id]);
    expect(after.split('.')[0]).toBe(before.split('.')[0]);
    expect(after).not.toBe(before);
    expect(await one.versions.current('*')).not.toBe(beforeAll);
  });

  it('stay the same when a write finds only duplicates', async () => {
    const { one } = replicas;
    const id = newOrganization();
    const event = clientEvent({ organizationId: id });
    await one.writer.write(writeRequest([event]));
    const before = await one.versions.current([id]);
    await one.writer.write(writeRequest([event]));
    expect(await one.versions.current([id])).toBe(before);
  });

  it('show on every replica the writes acknowledged by any', async () => {
    const { one, two } = replicas;
    const [id, other] = [newOrganization(), newOrganization()];
    const asked = [[id], [other, id], '*'] as const;
    for (let round = 1; round <= 20; round += 1) {
      const [writing, reading] = round % 2 === 0 ? [one, two] : [two, one];
      const before = await Promise.all(asked.map((tenants) => reading.versions.current(tenants)));
      // Reads are under way all the time: none that began before the acknowledgement may be joined after it.
      let isWritten = false;
      const busy = (async () => {
        while (!isWritten) await reading.versions.current([id]);
      })();
      await write(writing, id);
      const after = await Promise.all(asked.map((tenants) => reading.versions.current(tenants)));
      isWritten = true;
      await busy;
      expect(after[0]?.split('.')[0]).toBe(String(round));
      expect(after[1]).toBe(after[0]);
      after.forEach((version, index) => expect(version).not.toBe(before[index]));
    }
  });

  it.each(['one organization', 'all'])('move with the commit, not before: %s', async (whose) => {
    const { one } = replicas;
    const id = newOrganization();
    await write(one, id);
    const tenants = whose === 'all' ? '*' : [id];
    const before = await one.versions.current(tenants);
    const open = await uncommitted(
      `UPDATE audit_organization SET last_sequence = 2, recorded_at = clock_timestamp()
       WHERE organization_id = '${id}'`,
    );
    expect(await one.versions.current(tenants)).toBe(before);
    expect(await one.versions.current(tenants)).toBe(before);
    await open.query('COMMIT');
    const after = await one.versions.current(tenants);
    expect(after).not.toBe(before);
    expect(await one.versions.current(tenants)).toBe(after);
    await open.end();
  });

  it('of all see a commit of a subtransaction, also below a transaction that began later', async () => {
    const { one } = replicas;
    const id = newOrganization();
    await write(one, id);
    const older = await uncommitted('SAVEPOINT below');
    await older.query(
      `UPDATE audit_organization SET last_sequence = 2 WHERE organization_id = '${id}'`,
    );
    await older.query('RELEASE below');
    const younger = await uncommitted(`INSERT INTO service_secret VALUES ('${id}', '')`);
    const before = await one.versions.current('*');
    await older.query('COMMIT');
    const after = await one.versions.current('*');
    expect(after).not.toBe(before);
    await younger.query('ROLLBACK');
    expect(await one.versions.current('*')).toBe(after);
    await older.end();
    await younger.end();
  });

  it('of all are not added up again while nothing is committed', async () => {
    const { versions } = replicas.one;
    const before = await versions.current('*');
    const { reads, sums } = versions.statistics();
    // Other specs may write to other databases of this server at any time; between two reads there is a pause in it.
    await until(async () => {
      expect(await versions.current('*')).toBe(before);
      const after = versions.statistics();
      return after.sums - sums < after.reads - reads;
    });
  });

  it('are read by one query, however many requests ask', async () => {
    const { one } = replicas;
    const ids = Array.from({ length: 20 }, () => newOrganization());
    await Promise.all(ids.map((id, index) => write(one, id, index + 1)));
    const before = one.versions.statistics();
    const found = await Promise.all(
      Array.from({ length: 2000 }, (_, index) => one.versions.current([ids[index % 20] ?? ''])),
    );
    found.forEach((version, index) => expect(version.split('.')[0]).toBe(String((index % 20) + 1)));
    const after = one.versions.statistics();
    expect(after.asked - before.asked).toBe(2000);
    expect(after.reads - before.reads).toBe(1);
  });

  it('are equal only when the events are', async () => {
    const { one, two, admin } = replicas;
    const ids = [newOrganization(), newOrganization(), newOrganization()];
    const subsets = [[ids[0]], [ids[1]], ids.slice(0, 2), ids.slice(1), ids] as string[][];
    const eventsOf = async (tenants: string[]) => {
      const { rows } = await admin.query<{ text: string | null }>(
        `SELECT string_agg(id::text, ',' ORDER BY organization_id, sequence) AS text
         FROM audit_event WHERE organization_id = ANY($1)`,
        [tenants],
      );
      return rows[0]?.text ?? '';
    };
    const seen = new Map<string, string>();
    const step = fc.record({
      writes: fc.array(fc.tuple(fc.nat(2), fc.integer({ min: 1, max: 3 })), { maxLength: 3 }),
      tenants: fc.nat(subsets.length - 1),
      byOne: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 8 }), async (steps) => {
        for (const { writes, tenants, byOne } of steps) {
          const [writing, reading] = byOne ? [one, two] : [two, one];
          await Promise.all(writes.map(([at, count]) => write(writing, ids[at] ?? '', count)));
          const chosen = subsets[tenants] ?? [];
          const key = `${chosen.join()} ${await reading.versions.current(chosen)}`;
          const events = await eventsOf(chosen);
          expect(events).toBe(seen.get(key) ?? events);
          seen.set(key, events);
        }
      }),
      { numRuns: 25 },
    );
  });

  it('fail once when their connection is terminated, and are read again after', async () => {
    const { one, admin } = replicas;
    const id = newOrganization();
    await write(one, id);
    await one.versions.current([id]);
    const all = await one.versions.current('*');
    const lock = await uncommitted('LOCK TABLE audit_organization IN ACCESS EXCLUSIVE MODE');
    const failing = [one.versions.current([id]), one.versions.current([id])].map((version) =>
      version.catch((error: unknown) => error),
    );
    await until(async () => {
      const { rowCount } = await admin.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name = $1 AND datname = current_database() AND wait_event_type = 'Lock'`,
        [APPLICATION],
      );
      return (rowCount ?? 0) > 0;
    });
    const next = one.versions.current([id]); // asked while the first still runs, or right after it
    await lock.query('ROLLBACK');
    await lock.end();
    for (const error of await Promise.all(failing)) {
      expect(error).toMatchObject({ code: 'DATABASE_UNAVAILABLE', retryAfterSeconds: 2 });
    }
    expect(await next).toMatch(/^1\./);
    expect(await one.versions.current('*')).toBe(all);
  });

  it('of all are added up again by a new connection', async () => {
    const { one, admin } = replicas;
    const before = await one.versions.current('*');
    const { sums } = one.versions.statistics();
    await admin.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE application_name = $1 AND datname = current_database()`,
      [APPLICATION],
    );
    // Its server may be another one, which gave the same transaction ids to others.
    await until(() =>
      one.versions.current('*').then(
        (version) => version === before,
        () => false,
      ),
    );
    expect(one.versions.statistics().sums).toBe(sums + 1);
  });

  it('do not wait for the large pool', async () => {
    const { test } = replicas;
    const small = await openReplica(test.url, { poolMax: 1 });
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const holder = small.database.withClient(() => held);
    try {
      expect(await small.versions.current([newOrganization()])).toBe('0.0');
    } finally {
      release();
      await holder;
      await small.close();
    }
  });

  it('are DATABASE_UNAVAILABLE in bounded time when PostgreSQL is silent, and come back', async () => {
    const { test } = replicas;
    const network = await openNetworkPath(test.url);
    const far = await openReplica(network.url);
    const failure = (tenants: readonly string[] | '*') =>
      far.versions.current(tenants).catch((error: unknown) => error);
    try {
      await far.versions.current(['a']);
      network.stall();
      expect(await failure(['a'])).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
      expect(await failure('*')).toMatchObject({ code: 'DATABASE_UNAVAILABLE' }); // by a new connection
      network.cut();
      const mended = await openNetworkPath(test.url, network.port);
      expect(await far.versions.current(['a'])).toBe('0.0');
      mended.cut();
    } finally {
      network.cut();
      await far.close();
    }
  }, 20_000);
});
