// The mix of requests of the soak, at a given rate or as fast as responses come.
import { randomInt, randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { sampleEvent } from './support.mjs';

const ORGANIZATIONS = 20;
const CLIENTS = 32;
/** At a rate: more than this under way means that the service does not keep up, and the rest is counted as late. */
const MAX_UNDER_WAY = 500;
const TICK_MS = 10;
const BULK_EVENTS = 50;
const EVENTS = '/api/v1/audit/events';

/** Sends the mix to a service and counts what comes back. */
export class SoakLoad {
  counts = { done: 0, refused: 0, failed: 0, late: 0 };
  underWay = 0;
  #agent = new Agent({ keepAlive: true, maxSockets: 64 });
  #recent = [];

  constructor(url, token) {
    this.url = url;
    this.token = token;
  }

  /** Responses a second to `CLIENTS` clients that ask again at once, over `seconds`. */
  async measureCapacity(seconds) {
    const before = this.counts.done;
    const endMs = performance.now() + seconds * 1000;
    await Promise.all(
      Array.from({ length: CLIENTS }, async () => {
        while (performance.now() < endMs) await this.#sendOne();
      }),
    );
    return (this.counts.done - before) / seconds;
  }

  /** Sends `perSecond` requests a second, with or without responses, until `endMs`. */
  async hold(perSecond, endMs) {
    const startMs = performance.now();
    for (let sent = 0; performance.now() < endMs; await sleep(TICK_MS)) {
      const due = ((performance.now() - startMs) / 1000) * perSecond;
      for (; sent < due; sent += 1) {
        if (this.underWay >= MAX_UNDER_WAY) this.counts.late += 1;
        else void this.#sendOne();
      }
    }
    while (this.underWay > 0) await sleep(TICK_MS);
  }

  close() {
    this.#agent.destroy();
  }

  async #sendOne() {
    const dice = randomInt(100);
    const organization = `org-${randomInt(ORGANIZATIONS)}`;
    if (dice < 50) return this.#post(EVENTS, sampleEvent(organization), {});
    if (dice < 55) {
      return this.#post(EVENTS, sampleEvent(organization), { 'idempotency-key': randomUUID() });
    }
    if (dice < 57) {
      const events = Array.from({ length: BULK_EVENTS }, (_, at) => sampleEvent(organization, at));
      return this.#post(`${EVENTS}/bulk`, { events }, {});
    }
    if (dice < 85) return this.#get(`${EVENTS}?organization_ids=${organization}&limit=20`);
    const recent = this.#recent[randomInt(Math.max(1, this.#recent.length))];
    return this.#get(recent === undefined ? `${EVENTS}?limit=5` : `${EVENTS}/${recent}`);
  }

  async #post(path, body, headers) {
    const text = await this.#send('POST', path, JSON.stringify(body), headers);
    const id = text === undefined ? undefined : /"id":"([^"]+)"/.exec(text)?.[1];
    if (id !== undefined) this.#recent[randomInt(1000)] = id;
  }

  #get(path) {
    return this.#send('GET', path, undefined, {});
  }

  async #send(method, path, body, headers) {
    this.underWay += 1;
    try {
      const { status, text } = await this.#exchange(method, path, body, headers);
      if (status < 400) this.counts.done += 1;
      else if (status === 503) this.counts.refused += 1;
      else throw new Error(`${status} ${text.slice(0, 200)}`);
      return status < 400 ? text : undefined;
    } catch (error) {
      this.counts.failed += 1;
      this.lastFailure = String(error);
      return undefined;
    } finally {
      this.underWay -= 1;
    }
  }

  #exchange(method, path, body, headers) {
    return new Promise((resolve, reject) => {
      const sent = request(`${this.url}${path}`, {
        method,
        agent: this.#agent,
        headers: {
          authorization: `Bearer ${this.token}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
      });
      sent.on('error', reject);
      sent.on('response', (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (part) => (text += part));
        response.on('error', reject);
        response.on('end', () => resolve({ status: response.statusCode, text }));
      });
      sent.end(body);
    });
  }
}
