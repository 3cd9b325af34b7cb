import { ExpressAdapter } from '@nestjs/platform-express';
import type { Express, Response } from 'express';
import type { ServerResponse } from 'node:http';
import type { HttpServer } from './http-server';
import { refuseUnrouted, type RouteLayer } from './negotiation';

/** An answer that already is JSON text, as PostgreSQL made it: handed on without being parsed and written again. */
export interface JsonResponse {
  toJsonText(): string;
}

/** An answer that knows its status, headers and bytes. */
export interface WritableResponse {
  writeTo(response: ServerResponse): ServerResponse;
}

function isSelfWriting(body: unknown): body is WritableResponse {
  return typeof (body as WritableResponse | null)?.writeTo === 'function';
}

function isJsonResponse(body: unknown): body is JsonResponse {
  return typeof (body as JsonResponse | null)?.toJsonText === 'function';
}

/** The media type of JSON answers. */
export const JSON_TYPE = 'application/json; charset=utf-8';

/** Ends an answer with JSON text. */
function writeJson(response: ServerResponse, text: string): ServerResponse {
  const bytes = Buffer.from(text);
  response.setHeader('Content-Type', JSON_TYPE);
  response.setHeader('Content-Length', bytes.length);
  return response.end(bytes);
}

/** Express behind HttpServer: the socket belongs to the front, and answers that are JSON text already go out as bytes. */
export class HttpServerAdapter extends ExpressAdapter {
  private hasNotFoundHandler = false;

  constructor(
    private readonly server: HttpServer,
    application: Express,
  ) {
    super(application);
  }

  override initHttpServer(): void {
    this.httpServer = this.server.server;
  }

  override reply(response: Response, body: unknown, statusCode?: number): unknown {
    if (isSelfWriting(body)) return body.writeTo(response);
    if (!isJsonResponse(body)) return super.reply(response, body, statusCode) as unknown;
    if (statusCode !== undefined) response.statusCode = statusCode;
    return writeJson(response, body.toJsonText());
  }

  /** Nest would answer 404 to a wrong method on a known path; this one tells the two apart. Called once per prefix. */
  override setNotFoundHandler(): void {
    if (this.hasNotFoundHandler) return;
    this.hasNotFoundHandler = true;
    const { router } = this.getInstance<Express>();
    this.use(refuseUnrouted(() => router.stack as unknown as RouteLayer[]));
  }

  /** The front has closed the server when it drained. */
  override close(): Promise<void> {
    return Promise.resolve();
  }
}
