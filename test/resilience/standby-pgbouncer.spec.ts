import { askable, EVENTS } from '../support/test-service';
import { itHolds, SPEC_MS } from './failover-drill.fixture';
import { describeFailover, FailoverStage } from './failover-stage.fixture';

const BOOT_MS = 300_000;
const OPTIONS = { hasPooler: true };

describeFailover(OPTIONS)('behind PgBouncer, which keeps the connections of the service', () => {
  let stage: FailoverStage;

  beforeAll(async () => {
    stage = await FailoverStage.start(OPTIONS);
  }, BOOT_MS);
  afterAll(() => stage?.stop(), BOOT_MS);

  describe('the promotion of a standby that lags', () => {
    itHolds(
      () => stage,
      ({ cluster, database }) => ({
        prepare: async () => {
          await cluster.untilCaughtUp();
          cluster.replication.cut();
        },
        strike: async () => {
          database.cut();
          await cluster.primary.freeze();
          await cluster.failOver();
        },
        recover: () => Promise.resolve(stage.pointAtPrimary()),
      }),
      true,
    );
  });

  it(
    'a restored copy that comes to the same snapshot is recognized as another history',
    async () => {
      const { cluster, database, urls, token } = stage;
      const [url = ''] = urls;
      const organization = 'org-snapshot';
      const ledger = stage.ledger([organization]);
      const everything = () => askable(url).get(`${EVENTS}?limit=1000`, token);
      const snapshot = async () => {
        const [row] = await cluster.primary.query<{ xmax: string }>(
          'SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS xmax',
        );
        return Number(row?.xmax);
      };
      await ledger.writeOne(organization);
      const restore = await cluster.backUp();
      const lost = [];
      for (let count = 0; count < 8; count += 1) lost.push(await ledger.writeOne(organization));
      const before = await everything(); // the sum of all heads is remembered with this snapshot
      const known = await snapshot();
      expect(before.text).toContain(lost.at(-1)?.id);
      database.cut();
      await restore();
      database.restore();
      expect(await snapshot()).toBeLessThan(known);
      // Transactions of others bring the counter to where it was, without the service being asked.
      while ((await snapshot()) < known) await cluster.primary.query('SELECT pg_current_xact_id()');
      expect(await snapshot()).toBe(known);
      const after = await everything();
      for (const { id } of lost) expect(after.text).not.toContain(id);
    },
    SPEC_MS,
  );
});
