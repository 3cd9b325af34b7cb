import type { SealedIndex } from '../../platform/database/seals';

/** Values by which events are found through sealed indexes, rarest first: of several filters the first is preferred. */
const VALUES = {
  correlation: (e: string) => `${e}correlation_id`,
  session: (e: string) => memberOf(e, 'sessionId'),
  target: (e: string) => `${e}target_resource_id`,
  ip: (e: string) => memberOf(e, 'ipAddress'),
  principal: (e: string) => `${e}principal_id`,
  action: (e: string) => `${e}action`,
} as const;

export type SearchKey = keyof typeof VALUES;

/**
 * A member of the session context. `->>` fails for a text with an escaped NUL or lone surrogate anywhere in the JSON: the
 * service stores none, and a row that came another way must not make an index build or a later write fail.
 */
function memberOf(e: string, name: string): string {
  const text = `${e}session_context::text`;
  return String.raw`CASE WHEN strpos(${text}, '\u') = 0 OR ${text} !~ '\\u(0000|[dD][89a-fA-F])' THEN ${e}session_context ->> '${name}' END`;
}

/** The value of a key; `e` is a prefix for columns, such as `e.`. */
export function valueOf(key: SearchKey, e: string): string {
  return VALUES[key](e);
}

/**
 * Hash of an organization and a value, SQL for both: eight bytes whatever the value, so that no value is too long for an
 * index. Rows are compared with the value itself afterwards.
 */
export function hashOf(organization: string, value: string): string {
  return String.raw`hashtextextended(${organization} || E'\x01' || ${value}, 0)`;
}

/** The hash of a key of an event, as the index spells it. */
export function keyHashOf(key: SearchKey, e: string): string {
  return hashOf(`${e}organization_id`, `(${valueOf(key, e)})`);
}

/**
 * The condition that restricts an index to rows with a value; a statement must say it, too. Not of a column that is NOT NULL: since
 * version 17 PostgreSQL drops the condition from a statement, and could not prove that of the index.
 */
export function presenceOf(key: SearchKey, e: string): string {
  const isAlways = key === 'action';
  return isAlways ? byIndex(key, e) : `(${valueOf(key, e)}) IS NOT NULL AND ${byIndex(key, e)}`;
}

/** True for every event, and so dear by its declaration that the planner takes an index that implies it. */
function byIndex(key: string, e: string): string {
  return `audit_event_by_index(${e}id, '${key}')`;
}

export function targetsPresenceOf(e: string): string {
  return `${e}targets IS NOT NULL AND ${byIndex(TARGETS_KEY, e)}`;
}

/** Hashes of an event's targets, of which the first one has columns of its own; empty for most (docs/adr/0054). */
export function targetHashesOf(e: string): string {
  return `audit_event_target_hashes(${e}organization_id, ${e}targets)`;
}

export const TARGETS_KEY = 'targets';

function indexOf(key: SearchKey): SealedIndex {
  return {
    key,
    // The order of lists within a value: a page of a value with millions of events needs no sort.
    definition: `USING btree ((${keyHashOf(key, '')}), timestamp, id)`,
    where: presenceOf(key, ''),
  };
}

/** The sealed indexes of events. */
export const SEARCH_INDEXES: readonly SealedIndex[] = [
  ...(Object.keys(VALUES) as SearchKey[]).map(indexOf),
  {
    key: TARGETS_KEY,
    // Without a list of pending entries: rows come late into a seal, and few.
    definition: `USING gin ((${targetHashesOf('')})) WITH (fastupdate = off)`,
    where: targetsPresenceOf(''),
  },
];
