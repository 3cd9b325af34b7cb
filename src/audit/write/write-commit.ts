import { type Month, monthOf } from '../../platform/database/partitions';
import type { WriteRequest } from './write-batch';

/** A transaction that has committed: what was asked of it, duplicates included, and how long it took. */
export interface WriteCommit {
  requests: number;
  events: number;
  durationMs: number;
  /** Whose events they are. */
  organizations: ReadonlySet<string>;
}

/** What was asked of a transaction, and how long it took. */
export function commitOf(requests: WriteRequest[], durationMs: number): WriteCommit {
  const events = requests.reduce((sum, request) => sum + request.events.length, 0);
  const organizations = new Set<string>();
  for (const request of requests) {
    for (const { organizationId } of request.events) organizations.add(organizationId);
  }
  return { requests: requests.length, events, durationMs, organizations };
}

/** The months in which the events of a group happened. */
export function monthsOf(group: { request: WriteRequest }[]): Set<Month> {
  return new Set(group.flatMap(({ request }) => request.events.map((e) => monthOf(e.timestamp))));
}
