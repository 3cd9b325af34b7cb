import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { SEARCH_INDEXES } from '../../src/audit/search/search-indexes';
import { loadEnvironment } from '../../src/platform/config/load-environment';

const SOURCE = resolve(__dirname, '..', '..', 'src');
/** Commits that wait for a standby leave the pool, and at most so many wait (docs/operations.md). */
const DETACHED_COMMITS = 3;
/** Of a partition: its table, three indexes, and the sealed ones. */
const LOCKS_PER_PARTITION = 4 + SEARCH_INDEXES.length;

/** The largest number of connections of each dedicated pool of the service, from its source; NaN where a setting decides. */
export function dedicatedPools(): Map<string, number> {
  const pools = new Map<string, number>();
  for (const name of readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.ts') || name.endsWith('.spec.ts')) continue;
    const text = readFileSync(join(SOURCE, name), 'utf8');
    const calls = text.matchAll(/dedicatedPool\(\s*'(\w+)',\s*(?:(\{[^}]*\})|([A-Z_]+))/g);
    for (const [, pool = '', literal, constant] of calls) {
      const options =
        literal ?? new RegExp(`const ${constant}\\b[^=]*= (\\{[^}]*\\})`).exec(text)?.[1] ?? '';
      pools.set(pool, Number(/\bmax: (\w+)/.exec(options)?.[1]));
    }
  }
  return pools;
}

/** The most connections that one replica opens to the primary. */
export function connectionsOfReplica(profile: string): number {
  const { env } = loadEnvironment({ NODE_ENV: profile });
  let others = DETACHED_COMMITS;
  for (const [name, max] of dedicatedPools()) if (name !== 'exports') others += max;
  return Number(env['DATABASE_POOL_MAX']) + Number(env['STREAMING_MAX_CONCURRENT']) + others;
}

/** The most locks of one replica: each request and each export may read all partitions of the retention. */
export function locksOfReplica(profile: string): number {
  const { env } = loadEnvironment({ NODE_ENV: profile });
  const months = Math.ceil(Number(env['RETENTION_DAYS']) / (365.25 / 12));
  const partitions = months + 1 + Number(env['PARTITION_PRECREATE']);
  const statements = Number(env['DATABASE_POOL_MAX']) + Number(env['STREAMING_MAX_CONCURRENT']);
  return statements * partitions * LOCKS_PER_PARTITION;
}
