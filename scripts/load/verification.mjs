// After the load: everything that was written is read again.
import { checkEvents, checkSuccessor, expect, jsonOf, WrongAnswer } from './checks.mjs';

const PAGE = 1000;
const ORDER = { field: 'sequence', direction: 'desc' };
/** A page is asked for so often while the service sheds load. */
const ATTEMPTS = 20;

/**
 * Reads the events of each organization by sequence, from the newest to the first that this run wrote: no gap, each acknowledged
 * event once, as it was sent. Resolves to the number of events that were compared; wrong answers go to `statistics`.
 */
export async function verifyWritten({ own, client, statistics }) {
  let compared = 0;
  for (const [organizationId, acknowledged] of own.acknowledged) {
    let path = '';
    try {
      const first = own.firstSequenceOf(organizationId);
      const found = new Set();
      let [cursor, last] = [undefined, undefined];
      do {
        path = pathOf(organizationId, cursor);
        const answer = await ask(client, path);
        const { data, pagination } = jsonOf(answer, own);
        checkEvents(data, { own, order: ORDER, gapless: first });
        if (last !== undefined && data.length > 0) checkSuccessor(last, data[0], ORDER, first);
        for (const event of data) found.add(own.numberOf(event));
        last = data.at(-1) ?? last;
        cursor = pagination.nextCursor;
      } while (cursor !== undefined && BigInt(last.sequence) > first);
      for (const [number, sequence] of acknowledged) {
        expect(
          found.has(number),
          `the event of sequence ${sequence} in ${organizationId}, which was acknowledged, is not there`,
        );
        compared += 1;
      }
    } catch (error) {
      const reason = error instanceof WrongAnswer ? error.message : `unexpected: ${error.message}`;
      statistics.noteWrong('verification', `GET ${path}`, reason);
    }
  }
  return compared;
}

async function ask(client, path) {
  for (let attempt = 1; ; attempt += 1) {
    const headers = { 'cache-control': 'no-cache' };
    const answer = await client.send({ method: 'GET', path, headers });
    if (answer.status === 200) return answer;
    const text = `the status is ${answer.status}: ${answer.text.slice(0, 300)}`;
    expect(answer.status === 503 && attempt < ATTEMPTS, text);
    await new Promise((resolve) => setTimeout(resolve, 100 * attempt));
  }
}

function pathOf(organizationId, cursor) {
  const query = new URLSearchParams({
    organization_ids: organizationId,
    sort_field: ORDER.field,
    sort_direction: ORDER.direction,
    limit: String(PAGE),
    ...(cursor === undefined ? {} : { cursor }),
  });
  return `/api/v1/audit/events?${query}`;
}
