import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../integration/until.fixture';
import type { StoredRow } from './stored-rows.fixture';
import { type Outcome, outcomeOf, type Receipt, unanswered } from './write-outcome.fixture';
import { randomWrite, wireOf, type WriteRequest } from './write-request.fixture';

/** One time that a request was sent. */
export interface Attempt extends Outcome {
  request: WriteRequest;
  /** When it was sent and when its outcome was known, in milliseconds of `performance.now()`. */
  sentMs: number;
  settledMs: number;
}

/** What a fault does to commits that were acknowledged. */
export interface Loss {
  /** Commits acknowledged up to this moment may be lost, the newest ones of each organization: `performance.now()`. */
  untilMs: number;
  /** Answers that came later are of commits that the fault does not concern; between the two, nobody knows. */
  fromMs: number;
}

const PAUSE_MS = 15;
const RETRIES_AT_ONCE = 8;
/** A client waits no longer for an answer; the service answers sooner unless its deadline is longer. */
const ANSWER_MS = 60_000;

/** Sends writes, and keeps what became of each: the judge of what has to be stored afterwards. */
export class WriteLedger {
  readonly attempts: Attempt[] = [];
  /** Begins every mark and key: ledgers of one token must not share any, as keys are the token's. */
  private readonly name = randomUUID().slice(0, 8);
  private count = 0;
  private writers: Promise<void>[] = [];
  private isWriting = false;

  constructor(
    private readonly urls: readonly string[],
    private readonly token: string,
    private readonly organizations: readonly string[],
  ) {}

  /** Starts clients that write until `pause`; they send again what they may when they cannot tell what became of it. */
  write(clients: number): void {
    this.isWriting = true;
    const begun = Array.from({ length: clients }, (_, index) => this.client(index));
    this.writers.push(...begun);
  }

  /** Resolves once every client knows what became of its request. */
  async pause(): Promise<void> {
    this.isWriting = false;
    await Promise.all(this.writers.splice(0));
  }

  /** Resolves once so many more attempts have had such an outcome. */
  async more(count: number, kind?: Outcome['kind']): Promise<void> {
    const counted = () =>
      this.attempts.filter((attempt) => kind === undefined || attempt.kind === kind).length;
    const target = counted() + count;
    await this.wait(() => counted() >= target);
  }

  /** Resolves once so many attempts that were sent after this moment have had an answer, whichever it was. */
  async answered(count: number, sinceMs: number): Promise<void> {
    await this.wait(() => {
      const those = this.attempts.filter(({ sentMs, status }) => status > 0 && sentMs >= sinceMs);
      return those.length >= count;
    });
  }

  /** Ends the writing without waiting for answers, for a spec that failed. */
  abandon(): void {
    this.isWriting = false;
  }

  /** Sends a request once; what became of it is in the ledger. */
  async send(request: WriteRequest, url = this.nextUrl()): Promise<Attempt> {
    const { path, body, headers } = wireOf(request);
    const sentMs = performance.now();
    const signal = AbortSignal.timeout(request.hangUpAfterMs ?? ANSWER_MS);
    const outcome = await fetch(`${url}${path}`, {
      method: 'POST',
      headers: { ...headers, authorization: `Bearer ${this.token}` },
      body,
      signal,
    }).then(
      async (response) => {
        let text = '';
        let isWhole = true;
        const decoder = new TextDecoder();
        try {
          for await (const part of response.body ?? []) {
            text += decoder.decode(part as Uint8Array, { stream: true });
          }
        } catch {
          isWhole = false;
        }
        const { status, headers: received } = response;
        return outcomeOf(request, { status, headers: received, text, isWhole });
      },
      (error: unknown) => unanswered(error),
    );
    const attempt = { ...outcome, request, sentMs, settledMs: performance.now() };
    this.attempts.push(attempt);
    return attempt;
  }

  /** One write of one event, sent until it is acknowledged. */
  async writeOne(organizationId: string): Promise<Receipt> {
    this.count += 1;
    const request = randomWrite(`${this.name}-one-${this.count}`, [organizationId], false);
    const single: WriteRequest = { ...request, form: 'single', events: request.events.slice(0, 1) };
    const attempt = await this.send(single);
    const [receipt] = attempt.receipts;
    if (!receipt) throw new Error(`A write was not acknowledged: ${attempt.reason}`);
    return receipt;
  }

  /**
   * Sends everything again that may be sent again, once each: a retry must be answered as the first time when the first
   * time was acknowledged and survived, and must be acknowledged in any case.
   */
  async retryAll(rows: readonly StoredRow[]): Promise<void> {
    const survivors = new Map(rows.map((row) => [row.mark, row]));
    const requests = [...new Set(this.attempts.map(({ request }) => request))];
    const repeatable = requests.filter(({ isRepeatable }) => isRepeatable);
    const before = [...this.attempts];
    const retry = async (request: WriteRequest): Promise<void> => {
      const known = before.findLast(
        (attempt) => attempt.request === request && attempt.kind === 'acknowledged',
      );
      const attempt = await this.settled(request);
      if (attempt.kind !== 'acknowledged') {
        throw new Error(`A retry was answered ${attempt.reason}: ${attempt.text}`);
      }
      const isAsBefore = known?.receipts.every(({ mark, id, sequence }) => {
        const row = survivors.get(mark);
        return row?.id === id && row.sequence === sequence;
      });
      if (!known || isAsBefore !== true) return;
      // By its key the same bytes; without, each event is named as a duplicate with its number.
      if (request.key === undefined) expect(attempt.receipts).toEqual(known.receipts);
      else expect(attempt.text).toBe(known.text);
    };
    for (let from = 0; from < repeatable.length; from += RETRIES_AT_ONCE) {
      await Promise.all(repeatable.slice(from, from + RETRIES_AT_ONCE).map(retry));
    }
  }

  /** Fails unless what is stored is what was told to the clients, each event once, and no number is left out. */
  check(rows: readonly StoredRow[], loss?: Loss): void {
    expect(this.faults()).toEqual([]);
    const marks = rows.map(({ mark }) => mark);
    expect(repeated(marks)).toEqual([]);
    const stored = new Map(rows.map((row) => [row.mark, row]));
    const isStored = ({ mark, id, sequence }: Receipt) => {
      const row = stored.get(mark);
      return row?.id === id && row.sequence === sequence;
    };
    const acknowledged = this.attempts.filter(({ kind }) => kind === 'acknowledged');
    const owed = acknowledged.filter(({ sentMs }) => !loss || sentMs >= loss.fromMs);
    const missing = owed.filter(({ receipts }) => !receipts.every(isStored));
    expect(missing.map(told)).toEqual([]);
    if (loss) this.checkLoss(acknowledged, isStored, loss, stored);
    const settled = new Set(
      this.attempts.filter(({ kind }) => kind !== 'refused').map(({ request }) => request),
    );
    const refused = this.attempts.filter(
      ({ kind, request }) => kind === 'refused' && !settled.has(request),
    );
    const kept = refused.filter(({ request }) =>
      request.events.some(({ correlationId }) => stored.has(correlationId)),
    );
    expect(kept.map(told)).toEqual([]);
    this.checkNumbers(rows);
  }

  /** Answers that the contract does not allow, the first few. */
  faults(): string[] {
    return this.attempts.flatMap(({ fault }) => fault ?? []).slice(0, 5);
  }

  /** How many attempts had which outcome, for those who read the output. */
  summary(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { kind, reason } of this.attempts) {
      const name = `${kind}: ${reason}`;
      counts[name] = (counts[name] ?? 0) + 1;
    }
    return counts;
  }

  /** What was lost must be the newest of its organization: nothing older is missing, nothing newer is there. */
  private checkLoss(
    acknowledged: Attempt[],
    isStored: (receipt: Receipt) => boolean,
    loss: Loss,
    stored: ReadonlyMap<string, StoredRow>,
  ): void {
    for (const organization of this.organizations) {
      const receipts = acknowledged
        .filter(({ settledMs, request }) => {
          return settledMs <= loss.untilMs && request.events[0]?.organizationId === organization;
        })
        .flatMap((attempt) => attempt.receipts);
      const lost = receipts.filter((receipt) => !isStored(receipt));
      const firstLost = Math.min(...lost.map(({ sequence }) => sequence));
      const newer = receipts.filter((each) => isStored(each) && each.sequence > firstLost);
      expect({ organization, lostAndNot: newer }).toEqual({ organization, lostAndNot: [] });
      // An event that was lost is there again only if its client sent it again.
      const back = lost.filter(({ mark }) => stored.has(mark) && !this.wasSentAgain(mark, loss));
      expect(back).toEqual([]);
    }
  }

  private wasSentAgain(mark: string, { untilMs }: Loss): boolean {
    return this.attempts.some(
      ({ request, settledMs }) =>
        settledMs > untilMs && request.events.some(({ correlationId }) => correlationId === mark),
    );
  }

  private checkNumbers(rows: readonly StoredRow[]): void {
    for (const organization of this.organizations) {
      const own = rows.filter((row) => row.organization === organization);
      const numbers = own.map(({ sequence }) => sequence).sort((one, other) => one - other);
      expect(numbers).toEqual(numbers.map((_, index) => index + 1));
      if (own[0]) expect(own[0].lastSequence).toBe(own.length);
    }
  }

  /** Waits while clients write. */
  private async wait(isDone: () => boolean): Promise<void> {
    await until(() => isDone() || !this.isWriting || this.faults().length > 0);
    // A spec that has failed in the meantime must not go on to its faults.
    if (!this.isWriting) throw new Error('The clients have ended');
  }

  private async client(index: number): Promise<void> {
    const url = this.urls[index % this.urls.length];
    while (this.isWriting) {
      this.count += 1;
      const request = randomWrite(`${this.name}-${index}-${this.count}`, this.organizations);
      let { kind, fault } = await this.send(request, url);
      request.hangUpAfterMs = undefined; // it waits for the answer when it comes again
      while (this.isWriting && request.isRepeatable && kind !== 'acknowledged' && !fault) {
        await sleep(PAUSE_MS);
        ({ kind, fault } = await this.send(request, url));
      }
      await sleep(PAUSE_MS);
    }
  }

  /** Sends it until its outcome is known. */
  private async settled(request: WriteRequest): Promise<Attempt> {
    for (;;) {
      const attempt = await this.send(request);
      if (attempt.kind !== 'unknown' || attempt.fault !== undefined) return attempt;
      await sleep(PAUSE_MS);
    }
  }

  private nextUrl(): string {
    return this.urls[this.attempts.length % this.urls.length] ?? '';
  }
}

function told({ request, receipts, reason, isReplay }: Attempt): object {
  const { form, key } = request;
  return { form, key, reason, isReplay, receipts };
}

function repeated(names: readonly string[]): string[] {
  const seen = new Set<string>();
  return names.filter((name) => seen.size === seen.add(name).size);
}
