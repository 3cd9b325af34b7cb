// Sends a mix, in an open or a closed loop, and checks the answers.
import { setTimeout as sleep } from 'node:timers/promises';
import { checkLength, WrongAnswer } from './checks.mjs';
import { NoAnswer } from './client.mjs';
import { OPERATIONS } from './operations.mjs';

/** More under way means that the service has stopped to answer: what is due then has failed. */
const MAX_UNDER_WAY = 5000;
/** Statuses with which a service sheds load, which is no wrong answer. */
const REFUSALS = new Set([429, 503]);

/** A token that is refused in the midst of the load. */
export class TokenRefused extends Error {}

/**
 * Sends operations of `mix` for `seconds`, or until `requests` of them are sent or `signal` aborts, and waits for their answers. With
 * `rate` they are sent when they are due, and their times count from then: a service that stalls delays no later request of
 * others, and so hides nothing (coordinated omission, Gil Tene). Otherwise `connections` clients ask, one request after the
 * other. @throws TokenRefused
 */
export async function runLoad({
  mix,
  run,
  client,
  statistics,
  rate,
  connections,
  seconds,
  requests,
  signal,
}) {
  const pick = pickerOf(mix.entries);
  const startMs = performance.now();
  const endMs = startMs + seconds * 1000;
  let sent = 0;
  let refusedToken;
  const isOver = () =>
    signal.aborted || refusedToken !== undefined || sent >= requests || performance.now() >= endMs;
  const ask = async (dueMs) => {
    sent += 1;
    try {
      await execute(pick(), { run, client, statistics, dueMs });
    } catch (error) {
      refusedToken ??= error;
    }
  };
  if (rate === undefined) {
    const clients = Math.min(connections, requests);
    await Promise.all(
      Array.from({ length: clients }, async () => {
        while (!isOver()) await ask(performance.now());
      }),
    );
  } else {
    await openLoop();
  }
  statistics.end();
  if (refusedToken !== undefined) throw refusedToken;

  async function openLoop() {
    const underWay = new Set();
    while (!isOver()) {
      const dueMs = startMs + (sent * 1000) / rate;
      const waitMs = dueMs - performance.now();
      if (waitMs > 0) {
        await sleep(Math.min(waitMs, endMs - performance.now()), undefined, { signal }).catch(
          () => undefined,
        );
        continue;
      }
      statistics.lateness.add(-waitMs);
      if (underWay.size >= MAX_UNDER_WAY) {
        sent += 1;
        statistics.noteFailed(
          'not sent',
          `${MAX_UNDER_WAY} requests are waiting for their answers`,
        );
        await sleep(0); // answers that have come are read
        continue;
      }
      const asked = ask(dueMs).finally(() => underWay.delete(asked));
      underWay.add(asked);
    }
    await Promise.all(underWay);
  }
}

async function execute(entry, { run, client, statistics, dueMs }) {
  const { name, operation, options } = entry;
  const request = OPERATIONS[operation].prepare(run, options);
  let answer;
  try {
    answer = await client.send(request);
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    statistics.note(name, 0, performance.now() - dueMs);
    statistics.noteFailed(name, `${request.method} ${request.path}: ${error.message}`);
    return;
  }
  statistics.note(name, answer.status, performance.now() - dueMs);
  if (answer.status === 401) {
    throw new TokenRefused(`the service refused the token: ${answer.text.slice(0, 300)}`);
  }
  if (REFUSALS.has(answer.status)) {
    statistics.noteRefused(name);
    return;
  }
  try {
    checkLength(answer);
    request.check(answer);
  } catch (error) {
    // An answer of another shape than the checks read is wrong, too.
    const reason = error instanceof WrongAnswer ? error.message : `unexpected: ${error.message}`;
    statistics.noteWrong(name, `${request.method} ${request.path}`, reason);
  }
}

/** Chooses entries at random, by their weights. */
function pickerOf(entries) {
  const sum = entries.reduce((total, { weight }) => total + weight, 0);
  return () => {
    let left = Math.random() * sum;
    return entries.find(({ weight }) => (left -= weight) < 0) ?? entries.at(-1);
  };
}
