import { once } from 'node:events';
import type { Client } from 'pg';
import { Ledger } from '../integration/ledger.fixture';
import { LoadSender, randomRequest } from '../integration/load.fixture';
import { type ServiceProcess, tokenFor } from '../integration/service.fixture';
import { until } from '../integration/until.fixture';
import { openExport, readAnswer } from '../support/export-client';
import { GraphqlSubscriber } from '../support/graphql-subscriber';
import { RECORDED } from '../support/socket-stage';
import { TailClient } from '../support/tail-client';
import { EVENTS } from '../support/test-service';
import { Sender } from './replica-set.fixture';
import { ServiceStage } from './service-stage.fixture';
import { allowEventChanges } from '../support/event-changes';

const WRITERS = 24;
const READERS = 6;
const EXPORTED_EVENTS = 8000;

/** SIGTERM while everything runs at once: writes, reads, exports that are read, one that nobody reads, a tail, a WebSocket. */
describe('SIGTERM under load', () => {
  const reader = new Sender();
  let stage: ServiceStage;
  let admin: Client;
  let service: ServiceProcess;
  let token: string;
  let writer: LoadSender;

  beforeAll(async () => {
    stage = await ServiceStage.open();
    ({ admin } = stage);
    service = await stage.start({ SHUTDOWN_TIMEOUT_MS: '15000' });
    token = await tokenFor({ scopes: ['audit:read', 'audit:write', 'audit:export'] });
    writer = new LoadSender(token);
    // More than the sockets between hold, so that an export waits for its reader.
    await admin.query(
      `INSERT INTO audit_event (organization_id, timestamp, id, sequence, recorded_at, action, status, data_classification, metadata)
       SELECT 'org-large', now(), gen_random_uuid(), n, now(), 'a', 'success', 'INTERNAL',
         json_build_object('note', repeat('x', 4000)) FROM generate_series(1, ${EXPORTED_EVENTS}) n`,
    );
    await admin.query(`INSERT INTO audit_organization VALUES ('org-large', ${EXPORTED_EVENTS})`);
  }, 120_000);

  afterAll(async () => {
    writer?.close();
    reader.close();
    await stage?.close();
  });

  /** Writes until its connection is refused or cut. */
  async function write(ledger: Ledger, client: number): Promise<void> {
    for (let round = 0; ledger.lost === 0 && ledger.unexpected.length === 0; round += 1) {
      const request = { ...randomRequest(`c${client}-${round}`), isRepeatable: false };
      await ledger.settle(writer, request, () => Promise.resolve(service));
    }
  }

  /** Reads until its connection is refused or cut; the statuses of its answers. */
  async function read(client: number): Promise<number[]> {
    const statuses: number[] = [];
    for (;;) {
      const url = `${service.url}${EVENTS}?organization_ids=org-${client % 5}&limit=20`;
      const reply = await reader.send('GET', url, { token }).catch(() => undefined);
      if (!reply) return statuses;
      statuses.push(reply.status);
    }
  }

  async function openHeldExport() {
    const { response } = await openExport(
      service,
      token,
      'format=ndjson&organization_ids=org-large',
    );
    await once(response, 'readable');
    response.pause();
    return response;
  }

  it('answers accepted requests, finishes exports that are read, disconnects the stalled one, exits with 0', async () => {
    const ledger = new Ledger();
    const writing = Array.from({ length: WRITERS }, (_, client) => write(ledger, client));
    const reading = Array.from({ length: READERS }, (_, client) => read(client));
    const [taken, other, stalled] = [
      await openHeldExport(),
      await openHeldExport(),
      await openHeldExport(),
    ];
    const tail = await TailClient.open(`${service.url}${EVENTS}/tail?organization_ids=org-0`, {
      authorization: `Bearer ${token}`,
    });
    const subscriber = GraphqlSubscriber.open(
      service.url,
      { authorization: `Bearer ${token}` },
      RECORDED,
      { filter: { organizationIds: ['org-0'] } },
    );
    await until(
      () => ledger.requests > 200 && tail.events.length > 0 && subscriber.data.length > 0,
    );

    const ended = service.end('SIGTERM');
    await until(() =>
      fetch(`${service.url}/health/ready`).then(
        ({ status }) => status === 503,
        () => true,
      ),
    );
    for (const answer of await Promise.all([readAnswer(taken), readAnswer(other)])) {
      expect(answer).toMatchObject({
        status: 200,
        isWhole: true,
        trailers: { 'x-export-rows': String(EXPORTED_EVENTS) },
      });
    }
    expect(await ended).toEqual({ code: 0, signal: null });
    expect((await readAnswer(stalled)).isWhole).toBe(false);
    await until(() => tail.isOver && subscriber.isOver);
    expect(subscriber.ending?.code).toBe(1001);
    expect(subscriber.errors).toEqual([]);
    await Promise.all(writing);
    const statuses = (await Promise.all(reading)).flat();
    expect(statuses.length).toBeGreaterThan(0);
    expect([...new Set(statuses)]).toEqual([200]);

    await allowEventChanges(admin);
    await admin.query(`DELETE FROM audit_event WHERE organization_id = 'org-large'`);
    await ledger.check(admin);
    expect(service.unhandled()).toEqual([]);
  }, 60_000);
});
