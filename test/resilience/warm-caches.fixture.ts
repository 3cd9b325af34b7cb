import { type Answer, askable, EVENTS } from '../support/test-service';
import type { StoredRow } from './stored-rows.fixture';
import type { WriteLedger } from './write-ledger.fixture';

/** Pages that are asked for again and again. */
const LISTS = [
  'limit=5',
  'limit=5&sort_field=sequence&sort_direction=desc',
  'limit=50&sort_field=sequence&sort_direction=asc&include_total=true',
  'limit=5&actions=fault.drill&include_total=true',
];
const FRESH = { 'cache-control': 'no-cache' };
const WRITES = 3;

/** One read that is kept, and how it is asked for. */
interface KeptRead {
  url: string;
  path: string;
  body?: object;
}

/**
 * Reads that both replicas of the service, and the Redis that they share, hold when the fault comes: pages by each
 * protocol, of one organization, of several and of all, and single events with the newest among them.
 */
export class WarmCaches {
  private readonly etags = new Map<KeptRead, string>();

  private constructor(
    private readonly reads: readonly KeptRead[],
    private readonly token: string,
    private readonly urls: readonly string[],
    private readonly organizations: readonly string[],
  ) {}

  /** Asks until each of them is answered from a cache. */
  static async warm(
    urls: readonly string[],
    token: string,
    organizations: readonly string[],
    rows: readonly StoredRow[],
  ): Promise<WarmCaches> {
    const owners = [...organizations.slice(0, 2), organizations.join(), undefined];
    const paths = owners.flatMap((owner) =>
      LISTS.map(
        (list) => `${EVENTS}?${list}${owner === undefined ? '' : `&organization_ids=${owner}`}`,
      ),
    );
    const singles = organizations.flatMap((organization) =>
      rows
        .filter((row) => row.organization === organization)
        .slice(-4)
        .map(({ id }) => `${EVENTS}/${id}`),
    );
    const reads: KeptRead[] = [];
    for (const url of urls) {
      for (const path of [...paths, ...singles]) reads.push({ url, path });
      for (const organization of organizations) reads.push(...otherProtocols(url, organization));
    }
    const caches = new WarmCaches(reads, token, urls, organizations);
    for (const read of reads) {
      await caches.ask(read);
      const { status, text, headers } = await caches.ask(read);
      if (status !== 200) throw new Error(`${read.path} was answered ${status} ${text}`);
      caches.etags.set(read, headers.get('etag') ?? '');
    }
    return caches;
  }

  /**
   * Fails unless every read is answered as a fresh one is, with and without a condition, and neither shows an event that
   * PostgreSQL (`rows` are all that it has) does not have.
   */
  async expectExact(rows: readonly StoredRow[]): Promise<void> {
    const faults: object[] = [];
    const stored = new Set(rows.map(({ id }) => id));
    for (const read of this.reads) {
      const kept = await this.ask(read);
      const etag = this.etags.get(read) ?? '';
      const conditional = etag === '' ? undefined : await this.ask(read, { 'if-none-match': etag });
      const fresh = await this.ask(read, FRESH);
      const source = kept.headers.get('x-cache');
      const [shown, owed] = [kept, fresh].map(contentOf);
      const ghosts = [...idsIn(kept), ...idsIn(fresh)].filter((id) => !stored.has(id));
      if (ghosts.length > 0) faults.push({ read, source, lostAndShown: ghosts });
      if (shown !== owed) faults.push({ read, source, shown, owed });
      if (conditional?.status === 304 && etag !== fresh.headers.get('etag')) {
        faults.push({ read, source, conditional: '304 though it has changed' });
      }
    }
    expect(faults.slice(0, 3)).toEqual([]);
  }

  /** Fails unless each new event is at once on the newest page and by its id, at every replica. */
  async expectNewOnes(ledger: WriteLedger): Promise<void> {
    for (let count = 0; count < WRITES; count += 1) {
      for (const organization of this.organizations) {
        const { id } = await ledger.writeOne(organization);
        for (const url of this.urls) {
          const list = `sort_field=sequence&limit=5&organization_ids=${organization}`;
          const page = await this.ask({ url, path: `${EVENTS}?${list}` });
          expect(page.text).toContain(id);
          const single = await this.ask({ url, path: `${EVENTS}/${id}` });
          expect([single.status, single.text]).toEqual([200, expect.stringContaining(id)]);
        }
      }
    }
  }

  private ask(
    { url, path, body }: KeptRead,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const { token } = this;
    return askable(url).request(body ? 'POST' : 'GET', path, { token, body, headers });
  }
}

/** Lists by GraphQL and tRPC, which share the cache. */
function otherProtocols(url: string, organization: string): KeptRead[] {
  const query = `query ($filter: AuditEventFilter) {
    optimizedAuditEvents(filter: $filter, pagination: { limit: 5 }) {
      edges { node { id sequence correlationId } } totalCount
    }
  }`;
  const filter = { organizationIds: [organization] };
  const input = encodeURIComponent(JSON.stringify({ filter, pagination: { limit: 5 } }));
  return [
    { url, path: '/graphql', body: { query, variables: { filter } } },
    { url, path: `/trpc/performance.getOptimizedAuditEvents?input=${input}` },
  ];
}

/** The ids of the events of an answer. */
function idsIn({ status, text }: Answer): string[] {
  return status === 200 ? [...text.matchAll(/"id":"([^"]+)"/g)].map(([, id]) => id ?? '') : [];
}

/** An answer without what tells where it came from, and without cursors, which differ each time. */
function contentOf({ status, text }: Answer): string {
  const plain = text
    .replace(/"(?:nextCursor|previousCursor|endCursor|startCursor|cacheKey)":"[^"]*"/g, '')
    .replace(/"cacheInfo":\{[^}]*\}/g, '')
    .replace(/"(?:requestId|instance)":"[^"]*"/g, '');
  return `${status} ${plain}`;
}
