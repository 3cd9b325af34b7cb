import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from 'pg';
import { type ServiceProcess, tokenFor } from '../integration/service.fixture';
import { until } from '../integration/until.fixture';
import { EVENTS, eventWith } from '../support/test-service';
import { Sender } from './replica-set.fixture';
import { ServiceStage } from './service-stage.fixture';
import { SteadyLoad } from './steady-load.fixture';

const ORGANIZATION = 'org-of-one-writer';
const HOUR_MS = 3_600_000;
/** Between a reading of the clock here and one there, on a busy machine. */
const BUSY_MS = 60_000;

interface Stored {
  id: string;
  sequence: string;
  timestamp: string;
}

describe('a service under load whose clocks are set', () => {
  const sender = new Sender();
  let stage: ServiceStage;
  let admin: Client;
  let service: ServiceProcess;
  let token: string;
  const folder = mkdtempSync(join(tmpdir(), 'clocks-'));

  beforeAll(async () => {
    stage = await ServiceStage.open();
    ({ admin } = stage);
    await moveDatabaseClock();
    service = await startWithClock('writer', {});
    token = await tokenFor();
  }, 240_000);

  afterAll(async () => {
    sender.close();
    await stage?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const offsetFile = (name: string) => join(folder, name);

  function startWithClock(name: string, env: Record<string, string>): Promise<ServiceProcess> {
    const clock = ['--require', join(__dirname, 'clock-offset.cjs')];
    return stage.start({ CLOCK_OFFSET_FILE: offsetFile(name), ...env }, clock);
  }

  /** Sets the wall clock of a service so far ahead of the real one; resolves when that is done. */
  async function setClock(process_: ServiceProcess, name: string, offsetMs: number): Promise<void> {
    const times = () => process_.output().split('The clock is set to').length;
    const before = times();
    writeFileSync(offsetFile(name), String(offsetMs));
    process.kill(process_.pid, 'SIGUSR2');
    await until(() => times() > before);
  }

  async function stepsCounted(direction: 'ahead' | 'back'): Promise<number> {
    const metrics = await (await fetch(`${service.url}/metrics`)).text();
    const line = new RegExp(`^audit_clock_steps_total{direction="${direction}"} (\\d+)$`, 'm');
    return Number(line.exec(metrics)?.[1]);
  }

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

  async function write(): Promise<Stored> {
    const event = eventWith({ organizationId: ORGANIZATION });
    const reply = await sender.send('POST', `${service.url}${EVENTS}`, { token, body: event });
    expect({ status: reply.status, text: reply.text }).toMatchObject({ status: 201 });
    return JSON.parse(reply.text) as Stored;
  }

  it('numbers events without gaps, dates them by its clock, and shows what it stored', async () => {
    const load = await SteadyLoad.begin(service.url, 'clocks', { mayRefuse: false });
    const stored: Stored[] = [];
    const writeSome = async (offsetMs: number) => {
      const some: Stored[] = [];
      const begunMs = Date.now() + offsetMs;
      for (let count = 0; count < 10; count += 1) some.push(await write());
      for (const member of ['id', 'timestamp'] as const) {
        const values = some.map((event) => event[member]);
        expect({ member, values: [...new Set(values)].sort() }).toEqual({ member, values });
      }
      for (const { timestamp } of some) {
        expect(Math.abs(Date.parse(timestamp) - begunMs)).toBeLessThan(BUSY_MS);
      }
      stored.push(...some);
    };
    await writeSome(0);
    for (const offsetMs of [0.5 * HOUR_MS, 0, -HOUR_MS, -2 * HOUR_MS, 0.5 * HOUR_MS, 0]) {
      const before = (await stepsCounted('ahead')) + (await stepsCounted('back'));
      await setClock(service, 'writer', offsetMs);
      await writeSome(offsetMs);
      await until(
        async () => (await stepsCounted('ahead')) + (await stepsCounted('back')) > before,
      );
      await admin.query(`UPDATE clock.behind SET by = by + interval '1 hour'`);
      await writeSome(offsetMs);
      await load.progress(20);
    }
    await load.end();
    await load.ledger.check(admin);
    expect([await stepsCounted('ahead'), await stepsCounted('back')]).toEqual([2, 4]);

    expect(stored.map(({ sequence }) => sequence)).toEqual(
      stored.map((_, index) => String(index + 1)),
    );
    expect(new Set(stored.map(({ id }) => id)).size).toBe(stored.length);
    const page = await sender.send(
      'GET',
      `${service.url}${EVENTS}?organization_ids=${ORGANIZATION}&limit=1000&sort_field=sequence&sort_direction=asc`,
      { token },
    );
    const { data } = JSON.parse(page.text) as { data: Stored[] };
    expect(data).toEqual(stored);
    expect(service.unhandled()).toEqual([]);
  }, 240_000);

  it('goes on fetching keys while its clock is an hour behind: a new key works, a withdrawn one does not', async () => {
    const newKey = async (kid: string) => {
      const { publicKey, privateKey } = await generateKeyPair('ES256');
      const jwk = { ...(await exportJWK(publicKey)), kid };
      const sign = (subject: string) =>
        new SignJWT({ scope: 'audit:read', organizations: ['*'] })
          .setProtectedHeader({ alg: 'ES256', kid })
          .setSubject(subject)
          .setExpirationTime(Math.floor(Date.now() / 1000) + 7200)
          .sign(privateKey);
      return { jwk, sign };
    };
    const [first, second] = [await newKey('first'), await newKey('second')];
    let served = first;
    const issuer = createServer((_request, response) =>
      response.end(JSON.stringify({ keys: [served.jwk] })),
    ).listen(0, '127.0.0.1');
    await once(issuer, 'listening');
    const url = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}/jwks`;
    const reader = await startWithClock('reader', { AUTH_JWT_SECRET: '', AUTH_JWKS_URL: url });
    const read = async (own: string) =>
      (await sender.send('GET', `${reader.url}${EVENTS}?organization_ids=org-0`, { token: own }))
        .status;

    expect(await read(await first.sign('a'))).toBe(200);
    await setClock(reader, 'reader', -HOUR_MS);
    served = second;
    const renewed = await second.sign('b');
    await until(async () => (await read(renewed)) === 200);
    expect(await read(await first.sign('c'))).toBe(401);
    await setClock(reader, 'reader', HOUR_MS);
    served = first;
    const again = await first.sign('d');
    await until(async () => (await read(again)) === 200);
    await reader.end('SIGKILL');
    issuer.closeAllConnections();
    issuer.close();
  }, 240_000);
});
