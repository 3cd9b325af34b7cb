import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { HttpAdapterHost } from '@nestjs/core';
import { type AnyTRPCRouter, TRPCError } from '@trpc/server';
import { resolveResponse } from '@trpc/server/http';
import type { Express, Request as ExpressRequest, Response as ExpressResponse } from 'express';
import type { ServerResponse } from 'node:http';
import { appRouter, type ProcedureCall, subscriptionRouter } from './app-router';
import { BatchBodyReader, BatchInputs, callRequest } from './batch-inputs';
import {
  batchTooLong,
  failureHeaders,
  failureOf,
  failureStatus,
  LONGEST_BATCH,
  MAX_BATCH_SIZE,
  noteRequest,
  trpcCodeOf,
} from './failure';
import { type ProcedureHandler, ProcedureHandlers } from './procedure-handlers';
import { hasTicket, ticketNotAccepted } from '../../auth/ticket-access';
import { ComposedResponse } from '../../audit/read/response-composition';
import { requireSingleParameters } from '../../validation/query-coercion';
import { acceptedRanges } from '../../http/negotiation';
import { clientClosed, nameRoute, noteFeed, requestIdOf } from '../../http/request-context';
import { measureToFirstByte, spansOfResponse } from '../../http/request-times';
import { streamingConfig } from '../../platform/config/settings';
import { AppError, validationFailed } from '../../platform/errors/app-error';
import { toAppError, logFailure, writeProblem } from '../../platform/errors/problem';
import { waitForDrain } from '../../platform/runtime/back-pressure';
import { JsonTexts, restoreNumbers } from '../../platform/runtime/lossless-json';
import { spend } from '../../platform/runtime/time-spans';

const PATH = '/trpc';
const LINES_TYPE = 'application/jsonl';
const METHODS = ['GET', 'HEAD', 'POST'];

/** tRPC over HTTP: the protocol, with the handlers of the routes. */
@Injectable()
export class TrpcAdapter implements OnModuleInit {
  private handlers = new Map<string, ProcedureHandler>();

  constructor(
    private readonly host: HttpAdapterHost,
    private readonly procedures: ProcedureHandlers,
    private readonly bodies: BatchBodyReader,
    @Inject(streamingConfig.KEY) private readonly config: ConfigType<typeof streamingConfig>,
  ) {}

  onModuleInit(): void {
    this.handlers = this.procedures.find();
    requireSame([...this.handlers.keys()], Object.keys(appRouter._def.procedures));
    const application = this.host.httpAdapter.getInstance<Express>();
    application.use(PATH, (request: ExpressRequest, response: ExpressResponse) => {
      this.handle(request, response)
        .catch((error: unknown) => writeProblem(error, request, response))
        .finally(() => endResponseOf(response));
    });
  }

  private async handle(request: ExpressRequest, response: ExpressResponse): Promise<void> {
    nameRoute(request, 'trpc');
    const url = urlOf(request);
    requireSingleParameters(request.url);
    const isBatch = url.searchParams.get('batch') === '1';
    const rawPath = url.pathname.slice(1);
    const path = decoded(rawPath);
    nameRoute(request, this.procedureName(path, isBatch));
    response.setHeader('Cache-Control', 'no-store');
    const signal = closeSignal(response);
    const inputs = new BatchInputs(request, response, this.bodies);
    const texts = new JsonTexts();
    const call = async ({ path: name, input, batchIndex = 0 }: ProcedureCall): Promise<unknown> => {
      inputs.begin();
      await inputs.turn();
      try {
        if (batchIndex >= MAX_BATCH_SIZE) throw batchTooLong();
        requireOneCall(request, path, isBatch);
        if (hasTicket(request) && (isBatch || !asksForFeed(request))) throw ticketNotAccepted();
        const isPost = request.method === 'POST';
        const given = isPost ? await inputs.read(batchIndex, isBatch) : input;
        const handler = this.handlers.get(name);
        return texts.placeholder(await handler?.(callRequest(request, given, signal), response));
      } catch (error) {
        throw asTrpcError(error);
      } finally {
        inputs.finish();
      }
    };
    if (asksForLines(request)) await this.bodies.askForBody(request); // responses in lines begin before it is read
    const requestId = requestIdOf(request);
    const source = await resolveResponse({
      router: routerOf(request),
      req: webRequest(request, url, signal),
      path: rawPath,
      error: null,
      allowBatching: true,
      allowMethodOverride: true,
      maxBatchSize: LONGEST_BATCH,
      createContext: () => Promise.resolve({ requestId, call }),
      responseMeta: ({ errors, paths = [] }) => ({
        status: failureStatus(errors, paths.length),
        headers: failureHeaders(errors, paths.length),
      }),
      onError: ({ error, path: name }) => {
        noteRequest(error, requestId);
        const what =
          name === undefined ? this.procedureName(path, isBatch) : this.procedureName(name, false);
        logFailure(failureOf(error), what, requestId);
      },
    });
    const isFinished = (): boolean => inputs.isFinished;
    await writeFetchResponse(source, response, texts, isFinished, this.config.stallTimeoutMs);
  }

  /** The name in metrics and logs; `trpc` alone for a path that a client has made up. */
  private procedureName(path: string, isBatch: boolean): string {
    if (isBatch && path.includes(',')) return 'trpc batch';
    return this.handlers.has(path) ? `trpc ${path}` : 'trpc';
  }
}

/** A procedure may be a subscription for a client that asks for server-sent events. */
function routerOf(request: ExpressRequest): AnyTRPCRouter {
  return asksForFeed(request) ? subscriptionRouter : appRouter;
}

function asksForFeed({ headers }: ExpressRequest): boolean {
  return acceptedRanges(headers.accept).includes('text/event-stream');
}

/** Whether results of a batch come in lines, as tRPC decides it. */
function asksForLines({ headers }: ExpressRequest): boolean {
  const { 'trpc-accept': own, accept } = headers;
  return own !== undefined || acceptedRanges(accept).includes(LINES_TYPE);
}

/** An idempotency key stands for one write. */
function requireOneCall(request: ExpressRequest, path: string, isBatch: boolean): void {
  if (request.headers['idempotency-key'] === undefined || !isBatch || !path.includes(',')) return;
  const message = 'is for one call: send a batch without it';
  throw validationFailed([{ path: 'Idempotency-Key', message }]);
}

function asTrpcError(error: unknown): TRPCError {
  const cause = toAppError(error);
  return new TRPCError({ code: trpcCodeOf(cause.code), message: cause.detail, cause });
}

/** The request without its body, which BatchInputs reads. */
function webRequest(request: ExpressRequest, url: URL, signal: AbortSignal): Request {
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    for (const one of [value ?? []].flat()) headers.append(name, one);
  }
  // tRPC compares whole ranges, parameters included.
  headers.set('accept', acceptedRanges(request.headers.accept).join(', '));
  const { method } = request;
  const bare = new Request(url, { method, headers, signal });
  return Object.defineProperty(bare, 'text', { value: () => Promise.resolve('') });
}

/** A path that cannot be decoded stays as it is, and tRPC refuses it. */
function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** `//host` names no other host. */
function urlOf({ url, method }: ExpressRequest): URL {
  if (!METHODS.includes(method)) {
    throw new AppError('METHOD_NOT_ALLOWED', `Procedures are called by ${METHODS.join(', ')}.`, {
      headers: { Allow: METHODS.join(', ') },
    });
  }
  try {
    return new URL(`http://localhost/${url.replace(/^\/+/, '')}`);
  } catch (cause) {
    throw new AppError('NOT_FOUND', 'There is no such procedure.', { cause });
  }
}

/** Aborts when the client leaves before it has the whole response. */
function closeSignal(response: ExpressResponse): AbortSignal {
  const controller = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) controller.abort(clientClosed());
  });
  return controller.signal;
}

/** Router and handlers are declared apart: a path that only one of them has fails the boot. */
function requireSame(handled: string[], routed: string[]): void {
  const odd = [
    ...handled.filter((path) => !routed.includes(path)),
    ...routed.filter((path) => !handled.includes(path)),
  ];
  if (odd.length > 0) throw new Error(`Procedures without a handler or a type: ${odd.join(', ')}.`);
}

const COMPOSED = Symbol('composed response');
type WithComposed = ServerResponse & { [COMPOSED]?: ComposedResponse };

/** The response that the results of all calls are parts of. */
export function composedResponseOf(response: WithComposed): ComposedResponse {
  response[COMPOSED] ??= new ComposedResponse();
  return response[COMPOSED];
}

function endResponseOf(response: WithComposed): void {
  response[COMPOSED]?.end();
}

type Flushable = ExpressResponse & WithComposed & { flush?: () => void };

/**
 * Writes the response of tRPC, with exact numbers and with `texts` for their placeholders. A stream is written as fast as
 * the client reads, except while memory for responses is reserved, which a slow client would keep from others. A client that
 * leaves, or takes nothing for `stallTimeoutMs`, ends the stream at its source.
 */
async function writeFetchResponse(
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
    const text = await source.text();
    const bytes = spend(spansOfResponse(response), 'json', () =>
      Buffer.from(restoreNumbers(text, texts)),
    );
    response.setHeader('Content-Length', bytes.length);
    response.end(bytes);
    return;
  }
  measureToFirstByte(response);
  if (isEventStream(headers)) noteFeed(response);
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
  return headers.has('transfer-encoding') || isEventStream(headers);
}

function isEventStream(headers: Headers): boolean {
  return headers.get('content-type')?.startsWith('text/event-stream') === true;
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
