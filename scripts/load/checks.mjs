// What must hold for an answer. Pure, but for what `own` knows of the events of this run.
import { parseExact } from './exact-json.mjs';

/** An answer that is wrong; the message says how. */
export class WrongAnswer extends Error {}

export function expect(holds, message) {
  if (!holds) throw new WrongAnswer(typeof message === 'function' ? message() : message);
}

/** The JSON of an answer; numbers are exact (see parseExact) if events of this run are in it. */
export function jsonOf({ text }, own) {
  try {
    return text.includes(own.prefix) ? parseExact(text) : JSON.parse(text);
  } catch (error) {
    throw new WrongAnswer(`the body is not JSON: ${error.message}: ${text.slice(0, 100)}`);
  }
}

/** Content-Length is the length of the body, where there is one. */
export function checkLength({ headers, bytes, status }) {
  const length = headers['content-length'];
  if (length === undefined || headers['content-encoding'] !== undefined || status === 304) return;
  expect(Number(length) === bytes, `Content-Length is ${length}, and the body has ${bytes} bytes`);
}

/**
 * The events of a page or an export: no event twice, in order, and those of this run as they were sent. `order` is
 * `{ field: 'timestamp' | 'sequence', direction: 'asc' | 'desc' }`; by sequence of one organization, without gaps from `gapless` on
 * (a BigInt).
 */
export function checkEvents(events, { own, order, gapless, isGraphql = false }) {
  const seen = new Set();
  let previous;
  for (const event of events) {
    const key = `${event.organizationId} ${event.id}`;
    expect(typeof event.id === 'string', 'an event has no id');
    expect(!seen.has(key), `event ${event.id} is there twice`);
    seen.add(key);
    const difference = own.differenceOf(event, isGraphql);
    expect(difference === undefined, () => `event ${event.id}: ${difference}`);
    if (previous !== undefined) checkSuccessor(previous, event, order, gapless);
    previous = event;
  }
}

/** That `next` may follow `previous` in that order. */
export function checkSuccessor(previous, next, { field, direction }, gapless) {
  const [low, high] = direction === 'asc' ? [previous, next] : [next, previous];
  const name = `event ${next.id} after ${previous.id}`;
  if (field === 'timestamp') {
    const inOrder = comparable(low.timestamp) <= comparable(high.timestamp);
    expect(inOrder, () => `${name} is out of order: ${next.timestamp}, ${previous.timestamp}`);
    return;
  }
  const [less, greater] = [BigInt(low.sequence), BigInt(high.sequence)];
  expect(less < greater, () => `${name} is out of order: ${next.sequence}, ${previous.sequence}`);
  if (gapless === undefined || less < gapless) return;
  expect(
    greater === less + 1n,
    () =>
      `events are missing between the sequences ${less} and ${greater} of ${next.organizationId}`,
  );
}

/** A page has at most `limit` events, and exactly as many if another one follows. */
export function checkFullness(count, limit, hasNext) {
  expect(count <= limit, `the page has ${count} events, and ${limit} were asked for`);
  expect(
    !hasNext || count === limit,
    `the page has ${count} events of ${limit}, and says that another one follows`,
  );
}

/**
 * The first page by timestamp, descending, holds what was acknowledged before it was asked for: `numbers` of this run, unless they
 * are older than its last event.
 */
export function checkFreshness(events, { own, numbers, hasNext }) {
  const there = new Set(events.map((event) => own.numberOf(event)));
  const last = events.at(-1);
  for (const number of numbers) {
    const belongs = !hasNext || comparable(own.timestampOf(number)) > comparable(last.timestamp);
    expect(
      !belongs || there.has(number),
      () => `the event of ${own.timestampOf(number)}, acknowledged before, is missing`,
    );
  }
}

/** Receipts of a bulk write: one for each event, in their order, all created, with sequences that rise in each organization. */
export function checkReceipts(receipts, numbers, own) {
  expect(
    receipts?.length === numbers.length,
    `there are ${receipts?.length} receipts for ${numbers.length} events`,
  );
  const last = new Map();
  receipts.forEach(({ id, sequence, status }, index) => {
    const organization = own.organizationOf(numbers[index]);
    expect(
      typeof id === 'string' && /^[1-9]\d*$/.test(sequence),
      `receipt ${index} has no id or sequence`,
    );
    expect(status === 'created', `receipt ${index} says ${status} of a new event`);
    const previous = last.get(organization);
    expect(
      previous === undefined || BigInt(sequence) > previous,
      `receipt ${index}: sequence ${sequence} follows ${previous} in ${organization}`,
    );
    last.set(organization, BigInt(sequence));
  });
}

/** Timestamps have six to nine digits of a second: with nine they compare as texts. */
function comparable(timestamp) {
  return timestamp.slice(0, -1).padEnd('2026-11-30T00:00:00.000000000'.length, '0');
}
