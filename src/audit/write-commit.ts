import { type Month, monthOf } from '../database/partitions';
import type { WriteRequest } from './write-group';

/** A transaction that has committed: what was asked of it, duplicates included, and how long it took. */
export interface WriteCommit {
  requests: number;
  events: number;
  durationMs: number;
}

/** What was asked of a transaction, and how long it took. */
export function commitOf(requests: WriteRequest[], durationMs: number): WriteCommit {
  const events = requests.reduce((sum, request) => sum + request.events.length, 0);
  return { requests: requests.length, events, durationMs };
}

/** The months in which the events of a group happened. */
export function monthsOf(group: { request: WriteRequest }[]): Set<Month> {
  return new Set(group.flatMap(({ request }) => request.events.map((e) => monthOf(e.timestamp))));
}
