import type { ServerResponse } from 'node:http';
import { problemOf, toAppError } from '../platform/errors/problem';
import { waitForDrain } from '../platform/runtime/back-pressure';
import { noteFeed, requestIdOf } from './request-context';

/** Less than a minute, after which proxies commonly close a silent connection. */
const HEARTBEAT_MS = 15_000;
/** The `retry` field: the client's pause before it reconnects. */
const RECONNECT_MS = 2000;

export interface StreamMessage {
  /** Last-Event-ID of a reconnect; null leaves the previous one. */
  id: string | null;
  event: string;
  /** One line. */
  data: string;
}

export interface StreamLifetime {
  /** Milliseconds without progress after which the client is disconnected. */
  stallTimeoutMs: number;
  /** Aborts after the last message: a client that does not read must not delay a shutdown. */
  ended: AbortSignal;
}

/** Headers that prevent compression, storage and buffering: each message is useful only at once. */
export const EVENT_STREAM_HEADERS = {
  'Content-Type': 'text/event-stream; charset=utf-8',
  'Cache-Control': 'no-store, no-transform',
  'X-Accel-Buffering': 'no',
} as const;

/** Returns a signal that aborts when the response has ended, complete or not. */
export function whileConnected(response: ServerResponse): AbortSignal {
  const controller = new AbortController();
  if (response.destroyed) controller.abort();
  else response.once('close', () => controller.abort());
  return controller.signal;
}

/**
 * Writes server-sent events (HTML, section 9.2) at the client's speed, with heartbeats. An error of `messages` becomes
 * a last message `error` with the problem document.
 */
export async function writeEventStream(
  response: ServerResponse,
  messages: AsyncIterable<StreamMessage>,
  { stallTimeoutMs, ended }: StreamLifetime,
): Promise<void> {
  const { socket, req: request } = response;
  const closed = whileConnected(response);
  socket?.setNoDelay(true);
  noteFeed(response);
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
