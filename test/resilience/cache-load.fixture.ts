import { setTimeout as sleep } from 'node:timers/promises';
import { EVENTS } from '../support/test-service';
import type { Page, Stage, Stored } from './cache-stage.fixture';
import { newestPath, randomEvents, randomPath, TOTAL_PATH, type User } from './cache-world.fixture';
import type { Random } from './random.fixture';

const WRITERS = 3;
const READERS = 10;
/** Between two writes of a writer at most: long enough for answers to be kept and given again. */
const MAX_WRITE_PAUSE_MS = 60;
const MAX_RECENT = 50;

/**
 * Readers and writers at the same time. What a read may not miss is settled before it begins: all that was acknowledged
 * by then, and all that a read showed that was over by then.
 */
export class ConcurrentLoad {
  /** The least that reads may show from now on, by organization (newest sequence) or user (total). */
  private readonly shown = new Map<string, number>();
  /** What the page of a validator shows, for answers that only say that it still holds. */
  private readonly showing = new Map<string, { newest: number; total: number | undefined }>();
  private readonly etags = new Map<string, string>();
  private readonly recent: Stored[] = [];

  constructor(
    private readonly stage: Stage,
    private readonly random: Random,
  ) {}

  /** Goes on for as long as `meanwhile` takes. Rejects with the first thing that is wrong. */
  async during(meanwhile: () => Promise<void>): Promise<void> {
    let isOver = false;
    const workers = [
      ...Array.from({ length: WRITERS }, () => (random: Random) => this.write(random)),
      ...Array.from({ length: READERS }, () => (random: Random) => this.readOnce(random)),
    ].map(async (work) => {
      const random = this.random.fork();
      while (!isOver) await work(random);
    });
    const all = Promise.all(workers);
    // What goes wrong ends it; what runs meanwhile is waited for all the same.
    all.catch(() => (isOver = true));
    try {
      await meanwhile();
    } finally {
      isOver = true;
    }
    await all;
  }

  private async write(random: Random): Promise<void> {
    const stored = await this.stage.write(random.pick(this.stage.replicas), randomEvents(random));
    this.recent.push(...stored);
    this.recent.splice(0, this.recent.length - MAX_RECENT);
    await sleep(random.int(MAX_WRITE_PAUSE_MS));
  }

  private async readOnce(random: Random): Promise<void> {
    const { stage } = this;
    const user = random.pick(stage.users);
    const dice = random.int(100);
    if (dice < 45) await this.readNewest(user, random.pick(user.organizations), random);
    else if (dice < 75) await this.readTotal(user, random);
    else if (dice < 85) await this.readRecent(user, random);
    else {
      const isFavourite = random.chance(0.8);
      const path = isFavourite
        ? random.pick(user.favourites)
        : randomPath(user.organizations, random);
      await this.read(user, path, random);
    }
    stage.counts.concurrentReads += 1;
  }

  private async readNewest(user: User, organization: string, random: Random): Promise<void> {
    const path = newestPath(organization);
    const floor = Math.max(
      this.stage.acknowledgedOf(organization),
      this.shown.get(organization) ?? 0,
    );
    const { page, etag } = await this.read(user, path, random);
    const sequences = page?.data.map(({ sequence }) => Number(sequence));
    const newest = this.showing.get(etag)?.newest;
    if (newest === undefined || newest < floor) {
      throw new Error(`${user.name} was shown ${newest} of ${floor} events of ${organization}`);
    }
    if (sequences?.some((sequence, index) => sequence !== newest - index)) {
      throw new Error(`${user.name} was shown gaps of ${organization}: ${sequences.join()}`);
    }
    this.shown.set(organization, Math.max(newest, this.shown.get(organization) ?? 0));
  }

  private async readTotal(user: User, random: Random): Promise<void> {
    const place = `total of ${user.organizations.join()}`;
    const acknowledged = this.stage.totalOf(user.organizations);
    const floor = Math.max(acknowledged, this.shown.get(place) ?? 0);
    const { etag } = await this.read(user, TOTAL_PATH, random);
    const total = this.showing.get(etag)?.total;
    if (total === undefined || total < floor) {
      throw new Error(`${user.name} was told of ${total} of ${floor} events`);
    }
    this.shown.set(place, Math.max(total, this.shown.get(place) ?? 0));
  }

  /** An event that was acknowledged is there at once, in every replica. */
  private async readRecent(user: User, random: Random): Promise<void> {
    const visible = this.recent.filter((each) => user.organizations.includes(each.organization));
    const newest = visible.at(-1);
    if (newest) await this.read(user, `${EVENTS}/${newest.id}`, random);
  }

  private async read(
    user: User,
    path: string,
    random: Random,
  ): Promise<{ page: Page | undefined; etag: string }> {
    const { stage } = this;
    const read = stage.readOf(user, path, random);
    const known = this.etags.get(`${user.name} ${path} ${read.headers['accept-encoding']}`);
    if (known !== undefined && random.chance(0.3)) read.headers['if-none-match'] = known;
    const { status, headers, text } = await stage.read(read);
    if (status !== 200 && !(status === 304 && read.headers['if-none-match'])) {
      throw new Error(`${user.name} at ${read.url}: ${status} ${text}`);
    }
    const etag = headers['etag'] ?? '';
    this.etags.set(`${user.name} ${path} ${read.headers['accept-encoding']}`, etag);
    if (status === 304) return { page: undefined, etag };
    const page = JSON.parse(text) as Partial<Page>;
    if (!page.data || !page.pagination) return { page: undefined, etag }; // a single event
    const newest = Number(page.data[0]?.sequence ?? 0);
    this.showing.set(etag, { newest, total: page.pagination.total });
    return { page: page as Page, etag };
  }
}
