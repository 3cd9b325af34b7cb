import type { ServerResponse } from 'node:http';
import { problemOf, toAppError } from '../platform/errors/problem';
import { waitForDrain } from '../platform/runtime/drain';
import { requestIdOf } from './request-context';

/** Proxies commonly cut what is silent for a minute. */
const HEARTBEAT_MS = 15_000;
/** How long a client waits before it connects again (the `retry` field). */
const RECONNECT_MS = 2000;

/** One message of a stream. */
export interface StreamMessage {
  /** What the client sends as Last-Event-ID when it connects again; null leaves the last one as it was. */
  id: string | null;
  event: string;
  /** One line. */
  data: string;
}

/** How long a stream may go on. */
export interface StreamLifetime {
  /** Milliseconds after which a client that takes nothing is cut. */
  stallTimeoutMs: number;
  /** Aborts when no more messages will come: a client that does not read cannot hold up a shutdown. */
  ended: AbortSignal;
}

/** The head of a stream of server-sent events. It must not be compressed or kept: each message counts when it comes. */
export const EVENT_STREAM_HEADERS = {
  'Content-Type': 'text/event-stream; charset=utf-8',
  'Cache-Control': 'no-store, no-transform',
  'X-Accel-Buffering': 'no',
} as const;

/** A signal that aborts when the answer is over, however that came about. */
export function whileConnected(response: ServerResponse): AbortSignal {
  const controller = new AbortController();
  if (response.destroyed) controller.abort();
  else response.once('close', () => controller.abort());
  return controller.signal;
}

/**
 * Answers with server-sent events (HTML, section 9.2), no faster than the client takes them, which it must, and with a comment when
 * there is nothing to say. What `messages` throws becomes a last message `error` with the problem document.
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
