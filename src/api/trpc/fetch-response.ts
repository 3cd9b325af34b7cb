import type { Response as ExpressResponse } from 'express';
import type { ServerResponse } from 'node:http';
import { ComposedResponse } from '../../audit/read/response-composition';
import { measureToFirstByte } from '../../http/request-context';
import { waitForDrain } from '../../platform/runtime/drain';
import { type JsonTexts, restoreNumbers } from '../../platform/runtime/lossless-json';

const COMPOSED = Symbol('composed response');
type WithComposed = ServerResponse & { [COMPOSED]?: ComposedResponse };

/** The response that the results of all calls are parts of. */
export function composedResponseOf(response: WithComposed): ComposedResponse {
  response[COMPOSED] ??= new ComposedResponse();
  return response[COMPOSED];
}

export function endResponseOf(response: WithComposed): void {
  response[COMPOSED]?.end();
}

type Flushable = ExpressResponse & WithComposed & { flush?: () => void };

/**
 * Writes the response of tRPC, with exact numbers and with `texts` for their placeholders. A stream is written as fast as
 * the client reads, except while memory for responses is reserved, which a slow client would keep from others. A client that
 * leaves, or takes nothing for `stallTimeoutMs`, ends the stream at its source.
 */
export async function writeFetchResponse(
  source: Response,
  response: Flushable,
  texts: JsonTexts,
  isFinished: () => boolean,
  stallTimeoutMs: number,
): Promise<void> {
  const { status, headers, body } = source;
  if (response.destroyed) {
    await body?.cancel();
    return;
  }
  response.statusCode = status;
  headers.forEach((value, name) => response.setHeader(name, value));
  if (!body || !isStreamed(headers)) {
    const bytes = Buffer.from(restoreNumbers(await source.text(), texts));
    response.setHeader('Content-Length', bytes.length);
    response.end(bytes);
    return;
  }
  measureToFirstByte(response);
  response.flushHeaders();
  const flush = coalesced(() => response.flush?.());
  // Each chunk is whole lines of JSON text.
  for await (const chunk of body as ReadableStream<Uint8Array>) {
    const isTaken = response.write(restoreNumbers(Buffer.from(chunk).toString(), texts));
    flush();
    if (isFinished() && texts.isEmpty) endResponseOf(response);
    if (!isTaken && !response[COMPOSED]?.isHeld) await waitForDrain(response, stallTimeoutMs);
    if (response.destroyed) break;
  }
  response.end();
}

function isStreamed(headers: Headers): boolean {
  const type = headers.get('content-type');
  return headers.has('transfer-encoding') || type?.startsWith('text/event-stream') === true;
}

/** Calls `work` after the events of this tick are written: a flush after each would undo the compression. */
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
