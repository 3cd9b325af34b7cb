import { join } from 'node:path';
import type { Client } from 'pg';
import { type ServiceProcess, tokenFor } from '../integration/service.fixture';
import { until } from '../integration/until.fixture';
import { EVENTS, eventWith } from '../support/test-service';
import { Sender } from './replica-set.fixture';
import { ServiceStage } from './service-stage.fixture';
import { SteadyLoad } from './steady-load.fixture';

const ORGANIZATION = 'org-of-one-writer';

interface Stored {
  id: string;
  sequence: string;
  timestamp: string;
}

describe('a service under load whose clocks go back', () => {
  const sender = new Sender();
  let stage: ServiceStage;
  let admin: Client;
  let service: ServiceProcess;
  let token: string;

  beforeAll(async () => {
    stage = await ServiceStage.open();
    ({ admin } = stage);
    await moveDatabaseClock();
    const clock = ['--require', join(__dirname, 'clock-offset.cjs')];
    service = await stage.start({}, clock);
    token = await tokenFor();
  }, 120_000);

  afterAll(async () => {
    sender.close();
    await stage?.close();
  });

  /** Puts a clock that can be set in front of PostgreSQL's own, for whoever connects from now on. */
  async function moveDatabaseClock(): Promise<void> {
    const { rows } = await admin.query<{ name: string }>('SELECT current_database() AS name');
    await admin.query(`
      CREATE SCHEMA clock;
      CREATE TABLE clock.behind AS SELECT interval '0' AS by;
      CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
        'SELECT pg_catalog.clock_timestamp() - by FROM clock.behind';
      ALTER DATABASE ${rows[0]?.name} SET search_path = public, clock, pg_catalog`);
  }

  async function setServiceBack(): Promise<void> {
    const times = () => service.output().split('The clock goes back to').length;
    const before = times();
    process.kill(service.pid, 'SIGUSR2');
    await until(() => times() > before);
  }

  async function write(): Promise<Stored> {
    const event = eventWith({ organizationId: ORGANIZATION });
    const reply = await sender.send('POST', `${service.url}${EVENTS}`, { token, body: event });
    expect({ status: reply.status, text: reply.text }).toMatchObject({ status: 201 });
    return JSON.parse(reply.text) as Stored;
  }

  it('numbers events without gaps, makes ids and timestamps that only grow, and shows what it stored', async () => {
    const load = await SteadyLoad.begin(service.url, 'clocks', { mayRefuse: false });
    const stored: Stored[] = [];
    const writeSome = async () => {
      for (let count = 0; count < 15; count += 1) stored.push(await write());
    };
    await writeSome();
    for (let time = 0; time < 3; time += 1) {
      await setServiceBack();
      await writeSome();
      await admin.query(`UPDATE clock.behind SET by = by + interval '1 hour'`);
      await writeSome();
      await load.progress(30);
    }
    await load.end();
    await load.ledger.check(admin);

    expect(stored.map(({ sequence }) => sequence)).toEqual(
      stored.map((_, index) => String(index + 1)),
    );
    for (const member of ['id', 'timestamp'] as const) {
      const values = stored.map((event) => event[member]);
      expect({ member, values: [...new Set(values)].sort() }).toEqual({ member, values });
    }
    const page = await sender.send(
      'GET',
      `${service.url}${EVENTS}?organization_ids=${ORGANIZATION}&limit=1000&sort_field=sequence&sort_direction=asc`,
      { token },
    );
    const { data } = JSON.parse(page.text) as { data: Stored[] };
    expect(data).toEqual(stored);
    expect(service.unhandled()).toEqual([]);
  }, 60_000);
});
