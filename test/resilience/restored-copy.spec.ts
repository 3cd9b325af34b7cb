import { itHolds } from './failover-drill.fixture';
import { describeFailover, FailoverStage } from './failover-stage.fixture';

const BOOT_MS = 300_000;

describeFailover()('the restore of an older copy under a service that runs', () => {
  let stage: FailoverStage;

  beforeAll(async () => {
    stage = await FailoverStage.start();
  }, BOOT_MS);
  afterAll(() => stage?.stop(), BOOT_MS);

  let restore: (() => Promise<void>) | undefined;
  itHolds(
    () => stage,
    ({ cluster, database }) => ({
      prepare: async () => {
        restore = await cluster.backUp();
      },
      // On the same port, with the same identifier and on the same timeline of PostgreSQL.
      strike: async () => {
        database.cut();
        await restore?.();
      },
      recover: () => Promise.resolve(database.restore()),
    }),
    true,
  );
});
