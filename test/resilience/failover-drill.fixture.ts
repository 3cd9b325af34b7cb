import { randomUUID } from 'node:crypto';
import { askable } from '../support/test-service';
import { type Consumer, expectCaughtUp } from './consumer.fixture';
import { startConsumers } from './consumers.fixture';
import type { FailoverStage } from './failover-stage.fixture';
import { HeldCursors } from './held-cursors.fixture';
import { storedRows } from './stored-rows.fixture';
import { expectViewsAgree } from './views.fixture';
import { WarmCaches } from './warm-caches.fixture';
import type { Loss, WriteLedger } from './write-ledger.fixture';

const CLIENTS = 6;
const WRITES = 40;
/** Of one spec; some ask the service several hundred times. */
export const SPEC_MS = 180_000;

/** A fault, step by step. */
export interface DrillFault {
  /** Before the writes that may be lost. */
  prepare?(): Promise<void>;
  /** Takes the database away while clients write. */
  strike(): Promise<void>;
  /** Gives it back; what is sent from the beginning of this step on can only reach the database of afterwards. */
  recover(): Promise<void>;
}

/** What takes part in a drill. */
interface DrillParts {
  organizations: readonly [string, string];
  ledger: WriteLedger;
  consumers: readonly Consumer[];
  caches: WarmCaches;
  cursors: HeldCursors;
}

/**
 * One fault with everything that may suffer from it: clients that write all the time, consumers of every kind, caches
 * that are warm, cursors that clients hold.
 */
export class FailoverDrill {
  private constructor(
    private readonly stage: FailoverStage,
    private readonly parts: DrillParts,
    /** Around the fault, when it loses commits. */
    private readonly loss: Loss | undefined,
  ) {}

  get ledger(): WriteLedger {
    return this.parts.ledger;
  }

  get caches(): WarmCaches {
    return this.parts.caches;
  }

  /** Runs a fault from a healthy state to a healthy state. */
  static async run(
    stage: FailoverStage,
    fault: DrillFault,
    losesCommits: boolean,
  ): Promise<FailoverDrill> {
    const organizations = [`org-${randomUUID()}`, `org-${randomUUID()}`] as const;
    const ledger = stage.ledger(organizations);
    const consumers = await startConsumers(stage.urls, organizations);
    const now = () => storedRows(stage.cluster.primary, organizations);
    ledger.write(CLIENTS);
    await ledger.more(WRITES, 'acknowledged');
    await ledger.pause();
    await fault.prepare?.();
    ledger.write(CLIENTS);
    await ledger.more(WRITES, 'acknowledged');
    await ledger.pause();
    const rows = await now();
    await expectCaughtUp(consumers, rows);
    const { urls, token } = stage;
    const caches = await WarmCaches.warm(urls, token, organizations, rows);
    const cursors = await HeldCursors.take(urls[0] ?? '', token, organizations[0], rows);
    ledger.write(CLIENTS);
    await ledger.more(10, 'acknowledged');
    const untilMs = performance.now();
    await fault.strike();
    const fromMs = performance.now();
    await fault.recover();
    await ledger.more(WRITES, 'acknowledged');
    await ledger.pause();
    const parts = { organizations, ledger, consumers, caches, cursors };
    return new FailoverDrill(stage, parts, losesCommits ? { untilMs, fromMs } : undefined);
  }

  rows() {
    return storedRows(this.stage.cluster.primary, this.parts.organizations);
  }

  allRows() {
    return storedRows(this.stage.cluster.primary);
  }

  async expectConsumers(): Promise<void> {
    const { consumers } = this.parts;
    await expectCaughtUp(consumers, await this.rows());
    if (this.loss) return;
    expect(consumers.flatMap(({ name, restarts }) => restarts.map(() => name))).toEqual([]);
  }

  async expectCursors(): Promise<void> {
    await this.parts.cursors.expectExplicit(await this.rows(), this.parts.organizations[0]);
  }

  async expectViews(): Promise<void> {
    const { urls, token } = this.stage;
    const rows = await this.rows();
    for (const [index, organization] of this.parts.organizations.entries()) {
      await expectViewsAgree(urls[index % urls.length] ?? '', token, rows, organization);
    }
  }

  async expectLedger(): Promise<void> {
    const { loss } = this;
    this.ledger.check(await this.rows(), loss);
    await this.ledger.retryAll(await this.rows());
    this.ledger.check(await this.rows(), loss);
  }

  /** Whether some replica of the service reports that events were lost. */
  async isLossReported(): Promise<boolean> {
    const answers = await Promise.all(
      this.stage.urls.map((url) =>
        askable(url).get('/api/v1/performance/alerts', this.stage.token),
      ),
    );
    return answers.some(({ text }) => text.includes('EVENTS_LOST'));
  }

  async stop(): Promise<void> {
    this.ledger.abandon();
    await Promise.all(this.parts.consumers.map((consumer) => consumer.stop()));
  }
}

/** The specs of one fault: it is run once, before them. */
export function itHolds(
  stage: () => FailoverStage,
  fault: (stage: FailoverStage) => DrillFault,
  losesCommits: boolean,
): () => FailoverDrill {
  let drill: FailoverDrill | undefined;
  const run = (): FailoverDrill => {
    if (!drill) throw new Error('The fault was not run');
    return drill;
  };
  beforeAll(async () => {
    drill = await FailoverDrill.run(stage(), fault(stage()), losesCommits);
  }, SPEC_MS);
  afterAll(async () => {
    await drill?.stop();
    stage().settle();
  });
  it(
    'gives every follower each event once and in order, or an error that says why not',
    async () => {
      await run().expectConsumers();
    },
    SPEC_MS,
  );
  it(
    'leaves no cached answer that is wrong',
    async () => {
      await run().caches.expectExact(await run().allRows());
      await run().caches.expectNewOnes(run().ledger);
    },
    SPEC_MS,
  );
  it('lets no cursor leave anything out in silence', () => run().expectCursors(), SPEC_MS);
  it('shows the same in all protocols and formats', () => run().expectViews(), SPEC_MS);
  it(
    losesCommits
      ? 'loses the newest commits only, and remembers nothing of them'
      : 'loses nothing that was acknowledged, and keeps nothing that was refused',
    () => run().expectLedger(),
    SPEC_MS,
  );
  it(losesCommits ? 'is reported as a loss' : 'is not reported as a loss', async () => {
    expect(await run().isLossReported()).toBe(losesCommits);
  });
  it('gives the followers what was written since', () => run().expectConsumers(), SPEC_MS);
  it('leaves no error that nothing handles', () => {
    expect(stage().unhandled()).toEqual([]);
  });
  return run;
}
