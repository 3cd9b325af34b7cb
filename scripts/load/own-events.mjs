// The events that a run writes: made from their numbers, so that any response that holds one can be compared with what was sent.
import { differenceOf, exactNumber, exactText } from './exact-json.mjs';

const STATUSES = ['success', 'failure', 'attempt'];
const CLASSIFICATIONS = ['INTERNAL', 'PUBLIC', 'CONFIDENTIAL', 'PHI'];
/** Acknowledged events that a page must hold, of those that were recorded last in each organization. */
const REMEMBERED = 8;
/** Events that are kept as they are expected: pages hold the newest ones again and again. */
const EXPECTED = 2000;
/** Ids of acknowledged events that single reads ask for. */
const READABLE = 1000;

/** Events of one run, and what is known of them: acknowledged sequences, and the latest of each organization. */
export class OwnEvents {
  /** Acknowledged events by organization: number of the event to its sequence. */
  acknowledged = new Map();
  /** `{ id, organizationId, number }` of events that can be read, the newest of them. */
  readable = [];
  #next = 0;
  #latest = new Map();
  #readableCount = 0;
  #expected = new Map();

  /**
   * `run` is a word that no other run has; `baseMs` (epoch, of the clock of the service) is when the first event happened, each
   * further one a microsecond later.
   */
  constructor({ run, organizations, baseMs }) {
    this.run = run;
    this.organizations = organizations;
    this.baseMs = baseMs;
    this.prefix = `load-${run}-`;
  }

  get count() {
    return this.#next;
  }

  /** Numbers of new events. */
  take(count = 1) {
    return Array.from({ length: count }, () => this.#next++);
  }

  organizationOf(number) {
    return this.organizations[number % this.organizations.length];
  }

  /** When the event happened, as the service writes it. */
  timestampOf(number) {
    const ms = this.baseMs + Math.floor(number / 1000);
    const micros = String(number % 1000).padStart(3, '0');
    return new Date(ms).toISOString().replace('Z', `${micros}Z`);
  }

  /** The event of that number; `isGraphql` spells the enumerations of GraphQL. */
  eventOf(number, isGraphql = false) {
    const status = STATUSES[number % STATUSES.length];
    return {
      organizationId: this.organizationOf(number),
      timestamp: this.timestampOf(number),
      principalId: `load-user-${number % 97}`,
      action: 'load.write',
      targetResourceType: 'Load',
      targetResourceId: number % 5 === 0 ? null : `target-${number % 1009}`,
      status: isGraphql ? status.toUpperCase() : status,
      outcomeDescription: number % 3 === 0 ? null : `Größe, 大小 "${number}" 🙂\n`,
      dataClassification: CLASSIFICATIONS[number % CLASSIFICATIONS.length],
      correlationId: this.prefix + number,
      sessionContext: {
        sessionId: `s-${number % 31}`,
        ipAddress: '192.0.2.7',
        userAgent: 'audit-load/1.0',
      },
      metadata: {
        number: exactNumber(String(number)),
        large: exactNumber('9223372036854775807'),
        decimal: exactNumber('1.10'),
        nothing: null,
        list: [exactNumber('1'), 'two', { three: true }],
        note: 'x'.repeat(200),
      },
      ...(number % 4 === 0 ? this.#furtherMembersOf(number) : {}),
    };
  }

  /** Members that an event has only if they are sent. */
  #furtherMembersOf(number) {
    return {
      targetResourceType: 'Load',
      targetResourceId: `target-${number % 1009}`,
      principalType: 'service',
      principalName: `Load generator ${number % 97}`,
      targets: [
        { type: 'Load', id: `target-${number % 1009}`, name: `Target ${number}` },
        { type: 'Other', id: `other-${number % 13}`, name: 'größer' },
      ],
      changes: [
        { path: '/total', old: exactNumber('1.10'), new: exactNumber('9223372036854775807') },
      ],
      source: { service: 'audit-load', host: 'load-1', version: '1.0' },
      schemaVersion: '2',
    };
  }

  /** The JSON text of the event, with members that are added, such as an id. */
  textOf(number, { isGraphql = false, ...members } = {}) {
    return exactText({ ...members, ...this.eventOf(number, isGraphql) });
  }

  /** The number of an event of a response; undefined of events that this run has not written. */
  numberOf(event) {
    const { correlationId } = event;
    if (typeof correlationId !== 'string' || !correlationId.startsWith(this.prefix))
      return undefined;
    const number = Number(correlationId.slice(this.prefix.length));
    return Number.isInteger(number) && number < this.#next ? number : undefined;
  }

  /** How an event of a response (parseExact) differs from what was sent and acknowledged; undefined if it does not, or is not own. */
  differenceOf(event, isGraphql = false) {
    const number = this.numberOf(event);
    if (number === undefined) return undefined;
    const sequence = this.acknowledged.get(this.organizationOf(number))?.get(number);
    const expected = this.#expectedOf(number, isGraphql);
    if (sequence !== undefined && event.sequence !== sequence) {
      return `sequence is ${event.sequence}, and ${sequence} was acknowledged`;
    }
    return differenceOf(expected, event);
  }

  #expectedOf(number, isGraphql) {
    const key = isGraphql ? -1 - number : number;
    let event = this.#expected.get(key);
    if (event === undefined) {
      event = this.eventOf(number, isGraphql);
      if (this.#expected.size >= EXPECTED) this.#expected.clear();
      this.#expected.set(key, event);
    }
    return event;
  }

  /** The service has acknowledged the event. */
  acknowledge(number, { id, sequence }) {
    const organizationId = this.organizationOf(number);
    if (!this.acknowledged.has(organizationId)) this.acknowledged.set(organizationId, new Map());
    this.acknowledged.get(organizationId).set(number, sequence);
    this.readable[this.#readableCount++ % READABLE] = { id, organizationId, number };
    const latest = this.#latest.get(organizationId) ?? [];
    this.#latest.set(organizationId, [...latest, number].slice(-REMEMBERED));
  }

  /** The events of an organization that were acknowledged last. */
  latestOf(organizationId) {
    return this.#latest.get(organizationId) ?? [];
  }

  /** The least sequence that was acknowledged in an organization, as a BigInt; undefined of none. */
  firstSequenceOf(organizationId) {
    let first;
    for (const text of this.acknowledged.get(organizationId)?.values() ?? []) {
      const sequence = BigInt(text);
      if (first === undefined || sequence < first) first = sequence;
    }
    return first;
  }
}
