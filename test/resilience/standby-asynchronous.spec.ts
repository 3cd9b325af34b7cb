import { itHolds, SPEC_MS } from './failover-drill.fixture';
import { describeFailover, FailoverStage } from './failover-stage.fixture';

const BOOT_MS = 300_000;

describeFailover()('behind an asynchronous standby that also answers reads', () => {
  let stage: FailoverStage;

  beforeAll(async () => {
    stage = await FailoverStage.start({ hasReadReplica: true });
  }, BOOT_MS);
  afterAll(() => stage?.stop(), BOOT_MS);

  describe('the promotion of a standby that has everything', () => {
    itHolds(
      () => stage,
      ({ cluster, database, reader }) => ({
        strike: async () => {
          database.cut();
          await cluster.primary.query('SELECT pg_switch_wal()');
          await cluster.untilCaughtUp();
          await cluster.failOver();
        },
        recover: async () => {
          stage.pointAtPrimary();
          await cluster.rebuildStandby();
          reader.pointAt(cluster.standby.port);
        },
      }),
      false,
    );
  });

  describe('the promotion of a standby that lags, while the old primary comes back as the one that is read', () => {
    const drill = itHolds(
      () => stage,
      ({ cluster, database, reader }) => ({
        prepare: async () => {
          await cluster.untilCaughtUp();
          cluster.replication.cut();
        },
        strike: async () => {
          database.cut();
          await cluster.primary.crash();
          await cluster.failOver();
          // It asks the new primary for what that one never had.
          cluster.replication.restore();
          cluster.replication.pointAt(cluster.primary.port);
          await cluster.standby.startAsStandby(cluster.replication);
          reader.pointAt(cluster.standby.port);
        },
        recover: () => Promise.resolve(stage.pointAtPrimary()),
      }),
      true,
    );

    it(
      'shows the same when the old primary has become a server of its own',
      async () => {
        const { cluster, reader } = stage;
        await cluster.standby.promote();
        reader.pointAt(cluster.standby.port);
        await drill().caches.expectNewOnes(drill().ledger);
        await drill().caches.expectExact(await drill().allRows());
        await drill().expectViews();
      },
      SPEC_MS,
    );
  });
});
