import { Logger } from '@nestjs/common';
import * as fc from 'fast-check';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { readDocument } from '../src/api/graphql/graphql-documents';
import { recordedEventOf } from '../src/audit/event/event-test';
import { FeedBuffer, FeedMemory } from '../src/audit/feed/feed-buffer';
import { type PageRequest, pageStatement } from '../src/audit/read/page-statement';
import { PageWindows } from '../src/audit/read/page-windows';
import type { Principal } from '../src/auth/principal';
import { VerifiedTokenCache } from '../src/auth/verified-token-cache';
import { MemoryStore } from '../src/caching/memory-store';
import { FlowWaits } from '../src/concurrency/permit-pool';
import { RateLimitStorage } from '../src/concurrency/rate-limit';
import { preferredCoding } from '../src/http/negotiation';
import { MetricRegistry } from '../src/metrics/metrics.registry';
import { RequestRecorder } from '../src/metrics/request-recorder';
import type { monitoringConfig } from '../src/platform/config/settings';
import { QueryTimes } from '../src/platform/database/database-statistics';
import type { RedisConnection } from '../src/platform/redis/redis-connection';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const MB = 1_000_000;
/** What the runner and the caches of V8 take meanwhile. */
const NOISE = 8 * MB;

/** A structure that keeps something for what clients send. */
interface Structure {
  name: string;
  /** What it may take, in bytes, as docs/security.md says. */
  bound: number;
  /** Characters of one text that a client can have it look at. */
  longest: number;
  /** How many different texts it is given. */
  count: number;
  /** Makes one, and gives it as many texts as `texts` has; returned is what holds them. */
  fill: (texts: Iterable<string>) => unknown;
  /** What it says that it takes, where it counts. */
  size?: (holder: never) => number;
}

const principalOf = (subject: string, scopes: string[], organizations: string[]): Principal => ({
  subject,
  scopes: new Set(scopes),
  organizations,
  expiresAtMs: Infinity,
});

/** A text in pieces of two letters, each with what makes them strings of their own. */
function pieces(text: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${text.slice(0, 8)}${index.toString(36)}`);
}

const page = (changes: Partial<PageRequest>): PageRequest => ({
  organizations: ['org-1'],
  filter: {},
  sort: { field: 'timestamp', direction: 'desc' },
  limit: 1,
  offset: 0,
  ...changes,
});

const STRUCTURES: Structure[] = [
  {
    name: 'how far pages of lists reached (PageWindows)',
    bound: 7 * MB,
    longest: 100_000,
    count: 200,
    fill: (texts) => {
      const windows = new PageWindows();
      for (const text of texts) windows.learn(page({ filter: { actions: [text] } }), []);
      return windows;
    },
  },
  {
    name: 'how far pages of lists of short names reached (PageWindows)',
    bound: 7 * MB,
    longest: 100,
    count: 40_000,
    fill: (texts) => {
      const windows = new PageWindows();
      for (const text of texts) windows.learn(page({ filter: { actions: [text] } }), []);
      return windows;
    },
  },
  {
    name: 'names of statements (pageStatement)',
    bound: 5 * MB,
    longest: 10,
    count: 8_000,
    fill: (texts) => {
      for (const month of [...texts].keys()) {
        const from = new Date(Date.UTC(1970, month, 1)).toISOString();
        pageStatement(page({ from, isNarrow: true }));
      }
      return undefined;
    },
  },
  {
    name: 'verified tokens (VerifiedTokenCache)',
    bound: 17 * MB,
    longest: 16_000,
    count: 600,
    fill: (texts) => {
      const cache = new VerifiedTokenCache();
      for (const text of texts) {
        const principal = principalOf('alice', pieces(text, 500), pieces(text, 500));
        cache.set(text, {
          principal,
          notBeforeMs: 0,
          notAfterMs: Infinity,
          trustedUntilMs: Infinity,
        });
      }
      return cache;
    },
    size: ({ sizeBytes }: VerifiedTokenCache) => sizeBytes,
  },
  {
    name: 'windows of the rate limit (RateLimitStorage)',
    bound: 17 * MB,
    longest: 255,
    count: 60_000,
    fill: async (texts) => {
      const storage = new RateLimitStorage({ isAvailable: false } as RedisConnection);
      for (const text of texts) await storage.increment(text, 1e9, 10);
      return storage;
    },
    size: ({ sizeBytes }: RateLimitStorage) => sizeBytes,
  },
  {
    name: 'waits by flow (FlowWaits)',
    bound: 1 * MB,
    longest: 260,
    count: 30_000,
    fill: (texts) => {
      const waits = new FlowWaits();
      for (const text of texts) waits.record(text, 1);
      return waits;
    },
  },
  {
    name: 'cached answers (MemoryStore)',
    bound: 10 * MB,
    longest: 5_000,
    count: 3_000,
    fill: (texts) => {
      const store = new MemoryStore(10 * MB);
      for (const text of texts) store.set(text, { value: { sizeBytes: 100, group: `of ${text}` } });
      return store;
    },
    size: (store: MemoryStore) => store.statistics().bytes,
  },
  {
    name: 'codings by Accept-Encoding (preferredCoding)',
    bound: 1 * MB,
    longest: 16_000,
    count: 1_500,
    fill: (texts) => {
      for (const text of texts) {
        preferredCoding(text);
      }
      return undefined;
    },
  },
  {
    name: 'GraphQL documents (graphql-documents)',
    bound: 12 * MB,
    longest: 10_000,
    count: 1_200,
    fill: (texts) => {
      for (const text of texts)
        readDocument(`# ${text.replace(/[\s\p{Cs}]/gu, '')}\n{ ${'a '.repeat(500)} }`);
      return undefined;
    },
  },
  {
    name: 'figures by route and method (RequestRecorder)',
    bound: 6 * MB,
    longest: 1_000,
    count: 10_000,
    fill: (texts) => {
      const config = { slowRequestThresholdMs: 0 } as ReturnType<typeof monitoringConfig>;
      const recorder = new RequestRecorder(config, new MetricRegistry());
      for (const text of texts) recorder.record(text.slice(-20), `/${text}`, 200, 1);
      return recorder;
    },
  },
  {
    name: 'slow statements (QueryTimes)',
    bound: 8 * MB,
    longest: 4_000,
    count: 5_000,
    fill: (texts) => {
      const times = new QueryTimes(-1);
      const note = (times as unknown as { note: (statement: unknown, ms: number) => void }).note;
      for (const text of texts) note.call(times, text, 1);
      return times;
    },
  },
  {
    name: 'events that wait for subscribers (FeedBuffer, FeedMemory)',
    bound: 20 * MB,
    longest: 30_000,
    count: 1_500,
    fill: (texts) => {
      const memory = new FeedMemory(10 * MB);
      const buffers = Array.from({ length: 100 }, () => new FeedBuffer(memory));
      let number = 0;
      for (const text of texts) {
        number += 1;
        const event = { organizationId: 'o', sequence: String(number), action: text };
        // Each to one of them, as readers with other filters are given.
        buffers[(number * 7) % buffers.length]?.add(recordedEventOf(JSON.stringify(event)));
      }
      return { memory, buffers };
    },
    size: ({ memory }: { memory: FeedMemory }) => memory.sizeBytes,
  },
];

function heapBytes(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Different texts, each a string of its own. */
function* textsOf({ longest, count }: Structure, unit: string): Generator<string> {
  const body = unit.repeat(Math.ceil(longest / unit.length)).slice(0, longest);
  for (let number = 0; number < count; number += 1) {
    const start = number.toString(36);
    yield Buffer.from(`${start}${body.slice(start.length)}`, 'utf16le').toString('utf16le');
  }
}

describe('client state stays within its bound in bytes', () => {
  // Lines of a log that were kept for the report would hold on to what they tell of.
  beforeAll(() => Logger.overrideLogger(false));

  it.each(STRUCTURES.map((structure) => [structure.name, structure] as const))(
    '%s',
    async (_, structure) => {
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom('x', 'é', '語', '😀'),
          fc.double({ min: 0.5, max: 1, noNaN: true }),
          async (unit, part) => {
            const before = heapBytes();
            const longest = Math.ceil(structure.longest * part);
            const holder = await structure.fill(textsOf({ ...structure, longest }, unit));
            const kept = heapBytes() - before;
            expect(kept).toBeLessThan(structure.bound + NOISE);
            const counted = structure.size?.(holder as never) ?? 0;
            expect(counted).toBeLessThanOrEqual(structure.bound);
            return holder !== structure; // which keeps it until here
          },
        ),
        { numRuns: 2 },
      );
    },
    120_000,
  );
});
