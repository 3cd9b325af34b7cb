import { randomUUID } from 'node:crypto';
import { type Consumer, expectCaughtUp } from './consumer.fixture';
import { startConsumers } from './consumers.fixture';
import { describeFailover, FailoverStage } from './failover-stage.fixture';
import { storedRows } from './stored-rows.fixture';
import type { WriteLedger } from './write-ledger.fixture';

/** Rounds of each fault in CI, which has minutes; more by hand: STANDBY_ROUNDS=20 npx jest test/resilience/standby-synchronous */
const ROUNDS = Number(process.env['STANDBY_ROUNDS'] ?? 1);
const ROUND_MS = 240_000;
const CLIENTS = 12;
/** One replica of the service cancels what takes longer, as its clients come to know; the other one waits. */
const ENVIRONMENTS = [{ REQUEST_TIMEOUT_MS: '2500' }, { REQUEST_TIMEOUT_MS: '30000' }] as const;

/** What befalls the standby that commits wait for, and how its replication is made well again. */
interface Fault {
  begin(stage: FailoverStage): Promise<void>;
  /** Makes it a server that can be promoted, though nothing reaches it any more. */
  revive(stage: FailoverStage): Promise<void>;
}

const FAULTS: [name: string, fault: Fault][] = [
  [
    'stopped',
    {
      begin: ({ cluster }) => cluster.standby.crash(),
      revive: ({ cluster }) => cluster.standby.start(cluster.replication),
    },
  ],
  [
    'frozen',
    {
      begin: ({ cluster }) => cluster.standby.freeze(),
      revive: ({ cluster }) => Promise.resolve(cluster.standby.thaw()),
    },
  ],
  [
    'cut off from a primary that goes on',
    {
      begin: ({ cluster }) => Promise.resolve(cluster.replication.stall()),
      revive: () => Promise.resolve(),
    },
  ],
  [
    'slow',
    {
      begin: ({ cluster }) => Promise.resolve(cluster.replication.slowDown(700)),
      revive: () => Promise.resolve(),
    },
  ],
];

describeFailover()('behind a synchronous standby', () => {
  let stage: FailoverStage;
  let consumers: Consumer[] = [];

  beforeAll(async () => {
    stage = await FailoverStage.start({ environments: ENVIRONMENTS });
  }, 300_000);
  afterAll(() => stage?.stop(), 120_000);

  /** Resolves after deadlines have passed and clients have hung up, and have come again with their keys and ids. */
  async function suffer(fault: Fault, ledger: WriteLedger): Promise<void> {
    const sinceMs = performance.now();
    await fault.begin(stage);
    await ledger.answered(12, sinceMs);
  }

  /** What is stored is what was told, before anything is sent again and after. */
  async function expectTruth(ledger: WriteLedger, organizations: string[]): Promise<void> {
    const rows = () => storedRows(stage.cluster.primary, organizations);
    ledger.check(await rows());
    await ledger.retryAll(await rows());
    ledger.check(await rows());
    expect(stage.unhandled()).toEqual([]);
  }

  describe.each(FAULTS)('that is %s', (_name, fault) => {
    beforeEach(async () => {
      const { cluster } = stage;
      await cluster.rebuildStandby();
      await cluster.primary.setSynchronous(true);
    }, ROUND_MS);
    afterEach(async () => {
      stage.settle();
      await Promise.all(consumers.splice(0).map((consumer) => consumer.stop()));
    });

    it.each(Array.from({ length: ROUNDS }, (_, index) => index + 1))(
      'and then promoted, nothing that was acknowledged is lost (round %i)',
      async () => {
        const { cluster, database } = stage;
        const organizations = Array.from({ length: 3 }, () => `org-${randomUUID()}`);
        const ledger = stage.ledger(organizations);
        consumers = await startConsumers(stage.urls, organizations.slice(0, 1));
        ledger.write(CLIENTS);
        await ledger.more(15, 'acknowledged');
        await suffer(fault, ledger);
        database.cut();
        cluster.replication.cut();
        await cluster.primary.freeze();
        await fault.revive(stage);
        await cluster.failOver();
        stage.pointAtPrimary();
        await ledger.more(20, 'acknowledged');
        await ledger.pause();
        await expectTruth(ledger, organizations);
        // What was shown to a reader was durable, too: each has what is stored, and was told of no other past.
        await expectCaughtUp(consumers, await storedRows(cluster.primary, organizations));
        expect(consumers.flatMap(({ restarts }) => restarts)).toEqual([]);
      },
      ROUND_MS,
    );

    it.each(Array.from({ length: ROUNDS }, (_, index) => index + 1))(
      'and then comes back, everything is as acknowledged (round %i)',
      async () => {
        const { cluster } = stage;
        const organizations = Array.from({ length: 3 }, () => `org-${randomUUID()}`);
        const ledger = stage.ledger(organizations);
        ledger.write(CLIENTS);
        await ledger.more(15, 'acknowledged');
        await suffer(fault, ledger);
        cluster.replication.restore();
        await fault.revive(stage);
        await cluster.untilStreaming();
        await ledger.more(20, 'acknowledged');
        await ledger.pause();
        await expectTruth(ledger, organizations);
      },
      ROUND_MS,
    );
  });
});
