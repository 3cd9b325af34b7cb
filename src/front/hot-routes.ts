import { Injectable } from '@nestjs/common';
import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * Answers a request before express sees it, or calls `handOn` for the ordinary path to do it. It may do so at any
 * time before it has written anything; a body that it has read stays on the request (`RAW_BODY`).
 */
export type HotHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  handOn: () => void,
) => void;

/**
 * The few routes that carry the load and may be answered in front of express, which costs several times what the
 * work itself does. A hot route only knows the plain case; whatever is unusual or wrong it hands
 * on, so that there is one implementation of everything else.
 */
@Injectable()
export class HotRoutes {
  private readonly handlers = new Map<string, HotHandler>();

  /** Registers a handler for exactly this method and path, whatever the query. */
  register(method: string, path: string, handler: HotHandler): void {
    this.handlers.set(`${method} ${path}`, handler);
  }

  /** The handler of a request, if it is to a hot route. */
  find({ method, url }: IncomingMessage): HotHandler | undefined {
    const path = url?.split('?', 1)[0];
    return this.handlers.get(`${method} ${path}`);
  }
}
