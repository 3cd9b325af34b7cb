import { type ArgumentsHost, Catch, type ExceptionFilter } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import type { Express, NextFunction, Request, Response } from 'express';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HttpServer } from './http-server';
import { spansOfResponse } from './request-times';
import { spend } from '../platform/runtime/time-spans';
import { AppError } from '../platform/errors/app-error';
import { writeProblem } from '../platform/errors/problem';

/** Body as JSON text of PostgreSQL, which is not parsed and serialized again. */
export interface JsonResponse {
  toJsonText(): string;
  /** The parsed body, if the handler has it. */
  readonly value?: object;
}

/** Response that writes its status, headers and bytes itself. */
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

interface RouteLayer {
  route?: { methods: Record<string, boolean> };
  match(path: string): boolean;
}

/** Nest's adapter of express behind HttpServer, which owns the socket. It writes JSON text unchanged. */
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
    const spans = spansOfResponse(response);
    if (!isJsonResponse(body)) {
      return spend(spans, 'json', () => super.reply(response, body, statusCode) as unknown);
    }
    if (statusCode !== undefined) response.statusCode = statusCode;
    const bytes = spend(spans, 'json', () => Buffer.from(body.toJsonText()));
    response.setHeader('Content-Type', JSON_TYPE);
    response.setHeader('Content-Length', bytes.length);
    return response.end(bytes);
  }

  /** Distinguishes METHOD_NOT_ALLOWED from NOT_FOUND, which Nest does not. Nest calls this for each prefix. */
  override setNotFoundHandler(): void {
    if (this.hasNotFoundHandler) return;
    this.hasNotFoundHandler = true;
    const { router } = this.getInstance<Express>();
    this.use((request: Request, _response: Response, next: NextFunction) =>
      next(unroutedError(request, router.stack as unknown as RouteLayer[])),
    );
  }

  /** Does nothing: `HttpServer.drain` has closed the server. */
  override close(): Promise<void> {
    return Promise.resolve();
  }
}

/** Creates METHOD_NOT_ALLOWED with `Allow` when the path has other methods, else NOT_FOUND. */
function unroutedError({ method, path }: Request, layers: RouteLayer[]): AppError {
  const allowed = new Set<string>();
  for (const layer of layers) {
    if (!layer.route || !layer.match(path)) continue;
    for (const name of Object.keys(layer.route.methods)) allowed.add(name.toUpperCase());
  }
  if (allowed.has('GET')) allowed.add('HEAD');
  allowed.delete('_ALL');
  if (allowed.size === 0) {
    return new AppError('NOT_FOUND', 'There is no such route; /docs lists those of REST.');
  }
  const allow = [...allowed].sort().join(', ');
  const detail = `${method} is not allowed here; allowed: ${allow}.`;
  return new AppError('METHOD_NOT_ALLOWED', detail, { headers: { Allow: allow } });
}

/** Writes errors of REST handlers as application/problem+json, and logs them. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  catch(thrown: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    writeProblem(thrown, http.getRequest<IncomingMessage>(), http.getResponse<ServerResponse>());
  }
}
