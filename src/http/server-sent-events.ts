import type { ServerResponse } from 'node:http';
import { problemOf, toAppError } from '../platform/errors/problem';
import { waitForDrain } from '../platform/runtime/drain';
import { requestIdOf } from './request-context';

/** Proxies commonly close connections that are silent for a minute. */
const HEARTBEAT_MS = 15_000;
/** The `retry` field: a client's pause before it connects again. */
const RECONNECT_MS = 2000;

export interface StreamMessage {
  /** The Last-Event-ID of the client when it connects again; null leaves the last one as it was. */
  id: string | null;
  event: string;
  /** One line. */
  data: string;
}

export interface StreamLifetime {
  /** Milliseconds after which a client that takes nothing is disconnected. */
  stallTimeoutMs: number;
  /** Aborts when no more messages follow: a client that does not read cannot delay a shutdown. */
  ended: AbortSignal;
}

/** Headers of server-sent events, which must be neither compressed nor stored: each message counts when it is sent. */
export const EVENT_STREAM_HEADERS = {
  'Content-Type': 'text/event-stream; charset=utf-8',
  'Cache-Control': 'no-store, no-transform',
  'X-Accel-Buffering': 'no',
} as const;

/** A signal that aborts when the response has ended, in whatever way. */
export function whileConnected(response: ServerResponse): AbortSignal {
  const controller = new AbortController();
  if (response.destroyed) controller.abort();
  else response.once('close', () => controller.abort());
  return controller.signal;
}

/**
 * Writes server-sent events (HTML, section 9.2), no faster than the client takes them, and a comment when there are none.
 * An error of `messages` becomes a last message `error` with the problem document.
 */
export async function writeEventStream(
  response: ServerResponse,
  messages: AsyncIterable<StreamMessage>,
  { stallTimeoutMs, ended }: StreamLifetime,
): Promise<void> {
  const { socket, req: request } = response;
  const closed = whileConnected(response);
  socket?.setNoDelay(true);
  response.writeHead(200, EVENT_STREAM_HEADERS);
  response.write(`retry: ${RECONNECT_MS}\n\n`);
  const heartbeat = setInterval(() => {
    if (!response.writableNeedDrain) response.write(':\n\n');
  }, HEARTBEAT_MS).unref();
  try {
    for await (const message of messages) {
      if (closed.aborted) break;
      if (!response.write(textOf(message))) await waitForDrain(response, stallTimeoutMs, ended);
    }
  } catch (thrown) {
    const [path = ''] = (request.url ?? '').split('?', 1);
    const problem = problemOf(toAppError(thrown), path, requestIdOf(request));
    response.write(textOf({ id: null, event: 'error', data: JSON.stringify(problem) }));
  } finally {
    clearInterval(heartbeat);
    response.end();
    await waitForDrain(response, stallTimeoutMs, ended);
  }
}

function textOf({ id, event, data }: StreamMessage): string {
  return `${id === null ? '' : `id: ${id}\n`}event: ${event}\ndata: ${data}\n\n`;
}
