import { EVENTS } from '../support/test-service';
import { ORGANIZATIONS, type User } from './cache-world.fixture';
import type { Random } from './random.fixture';
import type { Reply, Sender } from './replica-set.fixture';

const MAX_EXACT_TOTAL = 10_000;

/** The fast path takes requests that plainly accept JSON; others go through express. */
const ORDINARY_PATH = 'application/json;q=0.9, text/html;q=0.1';
const CODINGS = ['identity', 'gzip', 'br'] as const;

/** One read of a user. */
export interface Read {
  user: User;
  url: string;
  headers: Record<string, string>;
}

/** An event that was stored, as its acknowledgement names it. */
export interface Stored {
  id: string;
  organization: string;
  sequence: number;
}

/** A page as far as it is looked into. */
export interface Page {
  data: { id: string; organizationId: string; sequence: string }[];
  pagination: { total?: number; nextCursor?: string; previousCursor?: string };
}

/** What happened so far, for those who ran it. */
export class Counts {
  steps = 0;
  writes = 0;
  reads = 0;
  comparisons = 0;
  concurrentReads = 0;
  notModified = 0;
  foreignCursors = 0;
  readonly xCache: Record<string, number> = {};
  slowestReadMs = 0;
}

/** Two replicas, those who use them, and what they were told. */
export class Stage {
  readonly counts = new Counts();
  /** The last sequence number that was acknowledged, by organization: as many events as it has, too. */
  private readonly acknowledged = new Map<string, number>();

  constructor(
    readonly replicas: readonly string[],
    readonly users: readonly User[],
    private readonly sender: Sender,
  ) {}

  /** The user whose token may write anywhere. */
  get operator(): User {
    const operator = this.users.at(-1);
    if (!operator) throw new Error('Nobody uses the service');
    return operator;
  }

  otherThan(replica: string): string {
    return this.replicas.find((url) => url !== replica) ?? replica;
  }

  acknowledgedOf(organization: string): number {
    return this.acknowledged.get(organization) ?? 0;
  }

  /** What `total` must be for these organizations at least; exactly that when nobody writes. */
  totalOf(organizations: readonly string[]): number {
    const sum = organizations.reduce((total, id) => total + this.acknowledgedOf(id), 0);
    return Math.min(sum, MAX_EXACT_TOTAL);
  }

  /** A read through either replica, either path and in any coding. */
  readOf(user: User, path: string, random: Random): Read {
    const headers: Record<string, string> = { 'accept-encoding': random.pick(CODINGS) };
    if (random.chance(0.3)) headers['accept'] = ORDINARY_PATH;
    return { user, url: `${random.pick(this.replicas)}${path}`, headers };
  }

  /** Makes a read; it must be answered, and hold nothing that the user may not see. */
  async read({ user, url, headers }: Read): Promise<Reply> {
    const reply = await this.sender.send('GET', url, { token: user.token, headers });
    this.counts.reads += 1;
    this.counts.slowestReadMs = Math.max(this.counts.slowestReadMs, reply.tookMs);
    const xCache = reply.headers['x-cache'] ?? 'none';
    this.counts.xCache[xCache] = (this.counts.xCache[xCache] ?? 0) + 1;
    if (reply.status === 304) this.counts.notModified += 1;
    if (reply.status === 200) requireVisible(reply, user, url);
    return reply;
  }

  /** Anything but a read. */
  send(method: string, url: string, user: User, body?: unknown): Promise<Reply> {
    return this.sender.send(method, url, { token: user.token, body });
  }

  /** Writes events; they count as acknowledged from the moment of the answer on. */
  async write(replica: string, events: Record<string, unknown>[]): Promise<Stored[]> {
    const isSingle = events.length === 1;
    const url = `${replica}${EVENTS}${isSingle ? '' : '/bulk'}`;
    const reply = await this.send('POST', url, this.operator, isSingle ? events[0] : { events });
    if (reply.status !== 200 && reply.status !== 201) {
      throw new Error(`A write was answered ${reply.status} ${reply.text}`);
    }
    this.counts.writes += 1;
    const receipts = receiptsIn(reply.text);
    const stored = events.map(({ organizationId }, index) => ({
      id: receipts[index]?.id ?? '',
      organization: String(organizationId),
      sequence: Number(receipts[index]?.sequence),
    }));
    for (const { organization, sequence } of stored) {
      const known = this.acknowledgedOf(organization);
      this.acknowledged.set(organization, Math.max(known, sequence));
    }
    return stored;
  }
}

/** The events of an answer: of a page, or the single one. */
export function eventsOf({ text }: Reply): Page['data'] {
  const answer = JSON.parse(text) as Page | Page['data'][number];
  return 'data' in answer ? answer.data : [answer];
}

function requireVisible(reply: Reply, user: User, url: string): void {
  const query = new URL(url).searchParams.get('organization_ids');
  const asked = query === null ? undefined : ORGANIZATIONS.filter((id) => namedIn(query, id));
  const allowed = asked ?? user.organizations;
  for (const { organizationId } of eventsOf(reply)) {
    if (!user.organizations.includes(organizationId) || !allowed.includes(organizationId)) {
      throw new Error(`${user.name} was shown an event of ${organizationId} at ${url}`);
    }
  }
}

/** Whether a list parameter names this organization. */
function namedIn(list: string, organization: string): boolean {
  const elements = list.replaceAll('\\,', '\0').split(',');
  return elements.some((element) => element.replaceAll('\0', ',') === organization);
}

function receiptsIn(text: string): { id: string; sequence: string }[] {
  const answer = JSON.parse(text) as { results?: { id: string; sequence: string }[] };
  return answer.results ?? [answer as unknown as { id: string; sequence: string }];
}
