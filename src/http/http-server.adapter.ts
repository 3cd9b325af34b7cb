import { type ArgumentsHost, Catch, type ExceptionFilter } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import type { Express, Response } from 'express';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HttpServer } from './http-server';
import { refuseUnrouted, type RouteLayer } from './negotiation';
import { writeProblem } from '../platform/errors/problem';

/** A body in PostgreSQL's JSON text, not parsed and serialized again. */
export interface JsonResponse {
  toJsonText(): string;
  /** The parsed body, where there is one. */
  readonly value?: object;
}

/** A response with its own status, headers and bytes. */
export interface WritableResponse {
  writeTo(response: ServerResponse): ServerResponse;
}

function isWritable(body: unknown): body is WritableResponse {
  return typeof (body as WritableResponse | null)?.writeTo === 'function';
}

function isJsonResponse(body: unknown): body is JsonResponse {
  return typeof (body as JsonResponse | null)?.toJsonText === 'function';
}

export const JSON_TYPE = 'application/json; charset=utf-8';

/** Express behind HttpServer, which owns the socket; writes JSON text as it is. */
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
    if (isWritable(body)) return body.writeTo(response);
    if (!isJsonResponse(body)) return super.reply(response, body, statusCode) as unknown;
    if (statusCode !== undefined) response.statusCode = statusCode;
    const bytes = Buffer.from(body.toJsonText());
    response.setHeader('Content-Type', JSON_TYPE);
    response.setHeader('Content-Length', bytes.length);
    return response.end(bytes);
  }

  /** Tells 405 from 404, which Nest does not. Called once per prefix. */
  override setNotFoundHandler(): void {
    if (this.hasNotFoundHandler) return;
    this.hasNotFoundHandler = true;
    const { router } = this.getInstance<Express>();
    this.use(refuseUnrouted(() => router.stack as unknown as RouteLayer[]));
  }

  /** Does nothing: `HttpServer.drain` has closed the server. */
  override close(): Promise<void> {
    return Promise.resolve();
  }
}

/** Writes errors of REST handlers as application/problem+json, and logs them. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  catch(thrown: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    writeProblem(thrown, http.getRequest<IncomingMessage>(), http.getResponse<ServerResponse>());
  }
}
