import { randomUUID } from 'node:crypto';
import { EVENTS } from '../support/test-service';
import { type Page, type Read, type Stage, type Stored } from './cache-stage.fixture';
import {
  newestPath,
  pathFrom,
  randomEvents,
  randomPath,
  TOTAL_PATH,
  type User,
} from './cache-world.fixture';
import type { Random } from './random.fixture';
import type { Reply } from './replica-set.fixture';

/** Reads that are made at the same time, between two changes. */
const READS_AT_ONCE = 4;
/** Older ones of what is remembered make room. */
const MAX_REMEMBERED = 100;
const PATTERNS = ['*', 'audit_events*', 'audit_events_by_id', 'audit_events:org-a:*', '*org-c*'];

/** What differs between two answers to one question. */
const VARYING = ['x-response-time', 'server-timing', 'date', 'x-cache', 'age'];
/** What only an answer with a body has. */
const OF_BODIES = ['content-type', 'content-length', 'content-encoding', 'transfer-encoding'];

interface Continuation {
  user: User;
  path: string;
}

/** Changes and reads one after the other, each read compared with what the database says at that moment. */
export class DifferentialReader {
  private readonly continuations: Continuation[] = [];
  private readonly stored: Stored[] = [];
  private readonly written: Record<string, unknown>[][] = [];
  private readonly etags = new Map<string, string>();

  constructor(
    private readonly stage: Stage,
    private readonly random: Random,
  ) {}

  /** Changes, operator's work or tricks; each followed by reads. */
  async run(rounds: number): Promise<void> {
    for (let round = 0; round < rounds; round += 1) {
      const dice = this.random.int(100);
      if (dice < 50) await this.write();
      else if (dice < 55) await this.invalidate();
      else if (dice < 57) await this.warmUp();
      else if (dice < 65) await this.tryForeignCursor();
      else if (dice < 70) await this.tryForeignOrganization();
      const reads = Array.from({ length: READS_AT_ONCE }, () => this.randomRead());
      await Promise.all(reads.map((read) => this.compare(read, this.referenceOf(read))));
      this.stage.counts.steps += 1 + READS_AT_ONCE;
    }
  }

  private async write(): Promise<void> {
    const { random, stage } = this;
    const isRepeat = this.written.length > 0 && random.chance(0.1);
    const events = isRepeat ? random.pick(this.written) : randomEvents(random);
    const replica = random.pick(stage.replicas);
    const stored = await stage.write(replica, events);
    if (events[0]?.['id'] !== undefined) remember(this.written, events);
    for (const each of stored) remember(this.stored, each);
    await this.requireShown(random.pick(stored), stage.otherThan(replica), !isRepeat);
  }

  /** The very next reads through the other replica show what was stored; then those through the first one. */
  private async requireShown(stored: Stored, replica: string, isNewest: boolean): Promise<void> {
    const { random, stage } = this;
    const { id, organization } = stored;
    const readers = stage.users.filter(({ organizations }) => organizations.includes(organization));
    for (const through of [replica, stage.otherThan(replica)]) {
      const user = random.pick(readers);
      const read = async (path: string) => {
        const wanted = { ...stage.readOf(user, path, random), url: `${through}${path}` };
        const reply = await stage.read(wanted);
        if (reply.status !== 200) throw new Error(`${wanted.url}: ${reply.status} ${reply.text}`);
        return reply.text;
      };
      const [newest, total, single] = await Promise.all([
        read(newestPath(organization)),
        read(TOTAL_PATH),
        read(`${EVENTS}/${id}`),
      ]);
      const { data } = JSON.parse(newest) as Page;
      const present = stage.acknowledgedOf(organization);
      const wanted = Array.from({ length: Math.min(5, present) }, (_, index) => present - index);
      expect({ newest: data.map(({ sequence }) => Number(sequence)) }).toEqual({ newest: wanted });
      if (isNewest && stored.sequence === present) expect(data[0]?.id).toBe(id);
      expect((JSON.parse(total) as Page).pagination.total).toBe(stage.totalOf(user.organizations));
      expect(JSON.parse(single)).toMatchObject({ id, organizationId: organization });
    }
  }

  private async invalidate(): Promise<void> {
    const { random, stage } = this;
    const pattern = encodeURIComponent(random.pick(PATTERNS));
    const url = `${random.pick(stage.replicas)}/api/v1/performance/cache?pattern=${pattern}`;
    const { status, text } = await stage.send('DELETE', url, random.pick(stage.users));
    if (status !== 200) throw new Error(`${url}: ${status} ${text}`);
  }

  private async warmUp(): Promise<void> {
    const { random, stage } = this;
    const user = random.pick(stage.users);
    const url = `${random.pick(stage.replicas)}/api/v1/performance/cache/warmup`;
    const organizationIds = random.chance(0.5) ? random.some(user.organizations) : undefined;
    const { status, text } = await stage.send('POST', url, user, {
      organizationIds,
      preloadDays: 1 + random.int(7),
    });
    if (status !== 200) throw new Error(`${url}: ${status} ${text}`);
  }

  /** A cursor is good for nobody but whom it was given to, whatever is kept. */
  private async tryForeignCursor(): Promise<void> {
    const { random, stage } = this;
    if (this.continuations.length === 0) return;
    const { user, path } = random.pick(this.continuations);
    const subjectOf = ({ name }: User) => name.split(' ')[0];
    const stranger = random.pick(
      stage.users.filter((other) => subjectOf(other) !== subjectOf(user)),
    );
    const { status, text } = await stage.read(stage.readOf(stranger, path, random));
    // An organization that the stranger may not ask for is refused first.
    const code = status === 403 ? 'FORBIDDEN' : 'INVALID_CURSOR';
    if (status !== 403 && status !== 400)
      throw new Error(`${stranger.name} read ${path}: ${status}`);
    expect(JSON.parse(text)).toMatchObject({ code });
    if (status === 403) expect(path).toContain('organization_ids');
    stage.counts.foreignCursors += 1;
  }

  private async tryForeignOrganization(): Promise<void> {
    const { random, stage } = this;
    const user = random.pick(stage.users);
    const foreign = stage.operator.organizations.filter((id) => !user.organizations.includes(id));
    if (foreign.length === 0) return;
    const { status } = await stage.read(
      stage.readOf(user, newestPath(random.pick(foreign)), random),
    );
    expect(status).toBe(403);
  }

  private randomRead(): Read {
    const { random, stage } = this;
    const user = random.pick(stage.users);
    const read = stage.readOf(user, this.randomPathOf(user), random);
    const etag = this.etags.get(etagKey(read));
    if (etag !== undefined && random.chance(0.4)) {
      read.headers['if-none-match'] = random.pick([etag, `W/${etag}`, `"other", ${etag}`]);
    }
    read.headers['x-request-id'] = randomUUID(); // stands in the bodies of problems
    return read;
  }

  private randomPathOf(user: User): string {
    const { random } = this;
    const dice = random.int(100);
    if (dice < 55) return random.pick(user.favourites);
    if (dice < 75) {
      const own = this.continuations.filter((continuation) => continuation.user === user);
      if (own.length > 0) return random.pick(own).path;
    }
    // Of any organization: what the user may not see is not there, kept or not.
    if (dice < 85 && this.stored.length > 0) return `${EVENTS}/${random.pick(this.stored).id}`;
    return randomPath(user.organizations, random);
  }

  /** The same question to either replica, to be answered from the database. */
  private referenceOf(read: Read): Read {
    const { random, stage } = this;
    const { pathname, search } = new URL(read.url);
    const headers: Record<string, string> = {
      ...read.headers,
      'cache-control': random.pick(['no-cache', 'no-store']),
    };
    delete headers['if-none-match'];
    return { ...read, headers, url: `${random.pick(stage.replicas)}${pathname}${search}` };
  }

  private async compare(read: Read, reference: Read): Promise<void> {
    const kept = await this.stage.read(read);
    const fresh = await this.stage.read(reference);
    this.stage.counts.comparisons += 1;
    const validator = read.headers['if-none-match'];
    const etag = fresh.headers['etag'];
    const isKnown = etag !== undefined && validator?.includes(etag) === true;
    // A response that is not kept has no lifetime; with one, `comparable` leaves it out.
    const without = reference.headers['cache-control'] === 'no-store' ? ['cache-control'] : [];
    const expected = isKnown
      ? { ...comparable(fresh, [...OF_BODIES, ...without]), status: 304, text: '', bytes: '' }
      : comparable(fresh, without);
    const question = { user: read.user.name, url: read.url, headers: read.headers };
    expect({
      question,
      ...comparable(kept, isKnown ? [...OF_BODIES, ...without] : without),
    }).toEqual({
      question,
      ...expected,
    });
    if (![200, 304, 404].includes(kept.status)) throw new Error(`${read.url}: ${kept.status}`);
    this.learnFrom(read, fresh);
  }

  private learnFrom(read: Read, { status, text, headers }: Reply): void {
    if (status !== 200) return;
    const { pathname, search } = new URL(read.url);
    if (headers['etag'] !== undefined) this.etags.set(etagKey(read), headers['etag']);
    const { pagination } = JSON.parse(text) as Partial<Page>;
    for (const cursor of [pagination?.nextCursor, pagination?.previousCursor]) {
      if (cursor === undefined) continue;
      remember(this.continuations, { user: read.user, path: pathFrom(pathname + search, cursor) });
    }
  }
}

function comparable({ status, headers, text, bytes }: Reply, without: string[]): object {
  const left = Object.entries(headers)
    .filter(([name]) => !VARYING.includes(name) && !without.includes(name))
    // A learned lifetime differs between replicas, and between moments.
    .map(([name, value]) => [name, name === 'cache-control' ? lifetimeHidden(value) : value]);
  return {
    status,
    headers: Object.fromEntries(left) as Record<string, string>,
    text,
    bytes: bytes.toString('base64'),
  };
}

function lifetimeHidden(cacheControl: string): string {
  return cacheControl.replace(/max-age=[1-9]\d*/, 'max-age=N');
}

function etagKey({ user, url, headers }: Read): string {
  const { pathname, search } = new URL(url);
  return `${user.name} ${pathname}${search} ${headers['accept-encoding']}`;
}

function remember<T>(list: T[], item: T): void {
  list.push(item);
  if (list.length > MAX_REMEMBERED) list.shift();
}
