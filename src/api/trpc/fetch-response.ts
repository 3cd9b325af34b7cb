import type { Response as ExpressResponse } from 'express';
import { waitForDrain } from '../../platform/runtime/drain';
import { type JsonTexts, restoreNumbers } from '../../platform/runtime/lossless-json';
import { measureToFirstByte } from '../../http/request-context';
import type { BatchInputs } from './batch-inputs';
import { endResponseOf, isResponseHeld } from './composed-response';

/** What an answer is made of. */
interface ResponseSource {
  texts: JsonTexts;
  inputs: Pick<BatchInputs, 'isRead'>;
  stallTimeoutMs: number;
}

/** As compression leaves it on a response. */
type Flushable = ExpressResponse & { flush?: () => void };

/**
 * Writes what tRPC answers to the client, numbers with their own digits and `texts` in their places. A stream goes out as it comes and as fast as
 * the client reads, but for what memory for answers is held: its client would hold it for all others. When the client leaves, or takes nothing for `stallTimeoutMs`, whoever makes it is told.
 */
export async function writeFetchResponse(
  answer: Response,
  response: Flushable,
  { texts, inputs, stallTimeoutMs }: ResponseSource,
): Promise<void> {
  if (response.destroyed) {
    await answer.body?.cancel();
    return;
  }
  response.statusCode = answer.status;
  const isStream = isStreamed(answer);
  answer.headers.forEach((value, name) => response.setHeader(name, value));
  if (!isStream || !answer.body) {
    const bytes = Buffer.from(restoreNumbers(await answer.text(), texts));
    response.setHeader('Content-Length', bytes.length);
    response.end(bytes);
    return;
  }
  measureToFirstByte(response);
  response.flushHeaders();
  const flush = coalesced(() => response.flush?.());
  // Each chunk is whole lines of JSON text.
  for await (const chunk of answer.body as ReadableStream<Uint8Array>) {
    const isTaken = response.write(restoreNumbers(Buffer.from(chunk).toString(), texts));
    flush();
    if (inputs.isRead && texts.isEmpty) endResponseOf(response);
    if (!isTaken && !isResponseHeld(response)) await waitForDrain(response, stallTimeoutMs);
    if (response.destroyed) break;
  }
  response.end();
}

function isStreamed({ headers }: Response): boolean {
  return (
    headers.has('transfer-encoding') ||
    headers.get('content-type')?.startsWith('text/event-stream') === true
  );
}

/** Does `work` once the events of this turn of the loop are written: a flush after each would undo the compression. */
function coalesced(work: () => void): () => void {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    setImmediate(() => {
      isDue = false;
      work();
    });
  };
}
