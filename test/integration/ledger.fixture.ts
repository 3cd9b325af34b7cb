import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import {
  type Acknowledged,
  acknowledgedIn,
  type LoadRequest,
  type LoadSender,
} from './load.fixture';

/** How an overloaded or cut-off service may refuse: what was sent is not acknowledged, and may be sent again. */
const REFUSALS = new Set([503, 504]);
/** Clients that are refused come again sooner than they are told to, to keep the load up. */
const REFUSED_PAUSE_MS = 30;

/** What load clients were told, request by request. */
export class Ledger {
  readonly acknowledged: Acknowledged[] = [];
  readonly keyed: { request: LoadRequest; body: string }[] = [];
  readonly unexpected: string[] = [];
  requests = 0;
  replays = 0;
  lost = 0;
  refused = 0;

  /** With `mayRefuse`, 503 (which must tell when to come again) and 504 are answers like others. */
  constructor(private readonly mayRefuse = false) {}

  /** Sends one request until it is settled: acknowledged, or lost or refused and not safe to repeat. */
  async settle(
    sender: Pick<LoadSender, 'send'>,
    request: LoadRequest,
    service: () => Promise<{ url: string }>,
    isOver: () => boolean = () => false,
  ): Promise<void> {
    for (;;) {
      const { url } = await service();
      const answer = await sender.send(url, request);
      if ('lost' in answer) {
        this.lost += 1;
        if (request.isRepeatable && !isOver()) continue;
        return;
      }
      const { status, body } = answer;
      if (status === 200 || status === 201) return this.acknowledge(request, answer);
      // A backend of the killed process may still be committing under the same key.
      if (status === 409 && request.key !== undefined && body.includes('still running')) continue;
      const isRefused = this.mayRefuse && REFUSALS.has(status);
      if (!isRefused || (status === 503 && !/^[1-9]\d*$/.test(answer.retryAfter ?? ''))) {
        this.unexpected.push(`${status} ${body}`);
        return;
      }
      this.refused += 1;
      await sleep(REFUSED_PAUSE_MS);
      if (!request.isRepeatable || isOver()) return;
    }
  }

  private acknowledge(request: LoadRequest, answer: { body: string; replayed: boolean }): void {
    this.acknowledged.push(...acknowledgedIn(request, answer.body));
    this.requests += 1;
    if (answer.replayed) this.replays += 1;
    if (request.key !== undefined) this.keyed.push({ request, body: answer.body });
  }

  /** Fails unless every acknowledged event is stored once as acknowledged, and no sequence has a gap. */
  async check(database: Client): Promise<void> {
    expect(this.unexpected.slice(0, 5)).toEqual([]);
    const { rows } = await database.query<{ mark: string; id: string; sequence: string }>(
      'SELECT correlation_id AS mark, id::text, sequence::text FROM audit_event WHERE correlation_id IS NOT NULL',
    );
    const stored = new Map(rows.map((row) => [row.mark, row]));
    expect(stored.size).toBe(rows.length); // nothing twice
    const wrong = this.acknowledged.filter(({ mark, id, sequence }) => {
      const row = stored.get(mark);
      return row?.id !== id || row.sequence !== sequence;
    });
    expect(wrong.map((each) => ({ ...each, stored: stored.get(each.mark) }))).toEqual([]);
    const gaps = await database.query(
      `SELECT organization_id, count(*), min(sequence), max(sequence), o.last_sequence
       FROM audit_event JOIN audit_organization o USING (organization_id) GROUP BY 1, 5
       HAVING count(*) <> max(sequence) OR min(sequence) <> 1 OR count(DISTINCT sequence) <> count(*)
         OR o.last_sequence <> max(sequence)`,
    );
    expect(gaps.rows).toEqual([]);
  }
}
