import { setTimeout as sleep } from 'node:timers/promises';
import { Ledger } from '../integration/ledger.fixture';
import { LoadSender, randomRequest } from '../integration/load.fixture';
import { tokenFor } from '../integration/service.fixture';
import { until } from '../integration/until.fixture';
import { EVENTS } from '../support/test-service';
import { type Reply, Sender } from './replica-set.fixture';

const READ_PAUSE_MS = 20;
const PROBE_PAUSE_MS = 30;
const ORGANIZATIONS = 5;

interface LoadOptions {
  writers?: number;
  readers?: number;
  /** Whether 503 and 504 are answers like others. */
  mayRefuse?: boolean;
}

/** Writers that keep a ledger, readers, and somebody who looks at the probes: all the time, until it is ended. */
export class SteadyLoad {
  readonly ledger: Ledger;
  reads = 0;
  readsRefused = 0;
  /** What the probes last said. */
  ready = 0;
  /** Answers of /health/live other than 200. */
  readonly notAlive: string[] = [];
  private isOver = false;
  private readonly writer: LoadSender;
  private readonly reader = new Sender();
  private readonly working: Promise<unknown>;

  private constructor(
    private readonly url: string,
    private readonly name: string,
    private readonly token: string,
    { writers = 16, readers = 4, mayRefuse = true }: LoadOptions,
  ) {
    this.ledger = new Ledger(mayRefuse);
    this.writer = new LoadSender(token);
    this.working = Promise.all([
      ...Array.from({ length: writers }, (_, client) => this.write(client)),
      ...Array.from({ length: readers }, (_, client) => this.read(client)),
      this.probe(),
    ]);
    this.working.catch(() => (this.isOver = true));
  }

  /** Begins to load the service at `url`; `name` marks the events and must not come twice in one database. */
  static async begin(url: string, name: string, options: LoadOptions = {}): Promise<SteadyLoad> {
    return new SteadyLoad(url, name, await tokenFor(), options);
  }

  /** Resolves once so many more writes were acknowledged and as many reads answered, or something went wrong. */
  async progress(writes: number): Promise<void> {
    const { ledger } = this;
    const target = { writes: ledger.requests + writes, reads: this.reads + 5 };
    await until(
      () =>
        this.isOver ||
        ledger.unexpected.length > 0 ||
        (ledger.requests >= target.writes && this.reads >= target.reads),
    );
  }

  /** Resolves once so many more requests were refused. */
  async refusals(count: number): Promise<void> {
    const target = this.ledger.refused + count;
    await until(
      () => this.isOver || this.ledger.unexpected.length > 0 || this.ledger.refused >= target,
    );
  }

  /** Resolves once /health/ready says so, asked anew. */
  async untilReadyIs(status: number): Promise<void> {
    this.ready = 0;
    await until(() => this.isOver || this.ready === status);
  }

  /** Ends it, and rejects with what a reader or a probe was told wrongly. */
  async end(): Promise<void> {
    this.isOver = true;
    await this.working.finally(() => {
      this.writer.close();
      this.reader.close();
    });
    expect(this.notAlive).toEqual([]);
  }

  private async write(client: number): Promise<void> {
    const service = () => Promise.resolve({ url: this.url });
    for (let round = 0; !this.isOver; round += 1) {
      const request = randomRequest(`${this.name}-${client}-${round}`);
      await this.ledger.settle(this.writer, request, service, () => this.isOver);
    }
  }

  private async read(client: number): Promise<void> {
    while (!this.isOver) {
      const path = `${EVENTS}?organization_ids=org-${client % ORGANIZATIONS}&limit=5`;
      const reply = await this.get(path);
      if (reply.status === 200) this.reads += 1;
      else if (reply.status === 503 || reply.status === 504) this.readsRefused += 1;
      else throw new Error(`${path}: ${reply.status} ${reply.text}`);
      if (reply.status === 503 && reply.headers['retry-after'] === undefined) {
        throw new Error(`${path}: 503 without Retry-After`);
      }
      await sleep(READ_PAUSE_MS);
    }
  }

  private async probe(): Promise<void> {
    while (!this.isOver) {
      const live = await this.get('/health/live');
      if (live.status !== 200) this.notAlive.push(`${live.status} ${live.text}`);
      this.ready = (await this.get('/health/ready')).status;
      await sleep(PROBE_PAUSE_MS);
    }
  }

  private get(path: string): Promise<Reply> {
    return this.reader.send('GET', `${this.url}${path}`, { token: this.token });
  }
}
