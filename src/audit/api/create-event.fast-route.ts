import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Principal, principalKey } from '../../auth/principal';
import { FairScheduler, flowKey } from '../../concurrency/fair-scheduler';
import { BodyMemoryLimiter } from '../../http/body-memory-limiter';
import { type BodyRequest, parseJsonBytes, RAW_BODY } from '../../http/body-reader';
import {
  type FastHandler,
  type FastRequest,
  FastRoutes,
  writeFastProblem,
} from '../../http/fast-routes';
import { JSON_TYPE } from '../../http/http-server.adapter';
import { plainlyAcceptsJson } from '../../http/negotiation';
import { requestSignal, writeStamped } from '../../http/request-context';
import { noteBodyComplete, spansOfResponse } from '../../http/request-times';
import { serverConfig } from '../../platform/config/settings';
import { ByteCollector } from '../../platform/runtime/byte-collector';
import { spend } from '../../platform/runtime/time-spans';
import { validate } from '../../validation/compiled-validator';
import { CreateAuditEventDto } from '../event/dto/create-audit-event.dto';
import { isBinaryCloudEvent } from '../event/formats/cloudevents-http';
import { AuditService } from '../write/audit.service';
import { AuditController } from './audit.controller';
import { eventWriteResponse, idempotencyClaimOf } from './write-headers';

/** Limit of a body; the ordinary path reads larger ones. */
const MAX_FAST_BYTES = 512 * 1024;
/** Limit of uncounted bodies: thousands of this size may wait. */
const SMALL_EVENT_BYTES = 4 * 1024;
const PLAIN_JSON = /^application\/json(?:; ?charset=utf-8)?$/i;

/**
 * `POST /audit/events` before express: AuditController.create without the framework, for plain requests with a known
 * token. A spec compares every byte and header with the ordinary path.
 */
@Injectable()
export class CreateEventFastRoute implements OnModuleInit {
  constructor(
    private readonly routes: FastRoutes,
    private readonly audit: AuditService,
    private readonly scheduler: FairScheduler,
    private readonly budget: BodyMemoryLimiter,
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
  ) {}

  onModuleInit(): void {
    const handler: FastHandler = (request, response, fallThrough) =>
      this.handle(request, response, fallThrough);
    this.routes.registerHandler(AuditController, 'create', handler);
  }

  private handle(request: FastRequest, response: ServerResponse, fallThrough: () => void): void {
    const { principal } = request;
    if (!principal || !this.isPlain(request)) return fallThrough();
    try {
      this.scheduler.assertCapacity(flowKey(principal)); // before the body is read
    } catch (error) {
      return writeFastProblem(error, request, response);
    }
    if (!this.acquireQuota(principal, request, response)) return fallThrough(); // refused on the ordinary path, too
    const bytes = new ByteCollector();
    const spans = spansOfResponse(response);
    spans.begin('body');
    request.on('data', (chunk: Buffer) => bytes.add(chunk));
    request.on('end', () => {
      spans.end('body');
      noteBodyComplete(response);
      const body = bytes.take();
      (request as BodyRequest)[RAW_BODY] = body;
      const event = spend(spans, 'json', () => validEventIn(body));
      if (!event) return fallThrough();
      this.create(principal, event, request as BodyRequest, response).catch((error: unknown) =>
        writeFastProblem(error, request, response),
      );
    });
  }

  /** Reserves memory for a body until it is read or aborted; false when there is none. */
  private acquireQuota(
    principal: Principal,
    request: FastRequest,
    response: ServerResponse,
  ): boolean {
    const bytes = Number(request.headers['content-length']);
    if (bytes <= SMALL_EVENT_BYTES) return true;
    const sender = principalKey(principal);
    if (!this.budget.readQuota.acquire(sender, bytes)) return false;
    let isHeld = true;
    const release = (): void => {
      if (isHeld) this.budget.readQuota.release(sender, bytes);
      isHeld = false;
    };
    request.once('end', release);
    response.once('close', release);
    return true;
  }

  /** Selects requests without need of the ordinary path: JSON of a known and allowed size. */
  private isPlain({ headers, url }: IncomingMessage): boolean {
    const length = Number(headers['content-length'] ?? NaN);
    return (
      !url?.includes('?') &&
      length > 0 &&
      length <= Math.min(MAX_FAST_BYTES, this.config.requestMaxSizeBytes) &&
      headers['content-encoding'] === undefined &&
      PLAIN_JSON.test(headers['content-type'] ?? '') &&
      plainlyAcceptsJson(headers.accept) &&
      !isBinaryCloudEvent(headers)
    );
  }

  private async create(
    principal: Principal,
    event: CreateAuditEventDto,
    request: BodyRequest,
    response: ServerResponse,
  ): Promise<void> {
    const body = request[RAW_BODY];
    if (body && body.length > SMALL_EVENT_BYTES) this.budget.reserve(body, response);
    const claim = idempotencyClaimOf(request, principal, 'event');
    const signal = requestSignal(response, this.config.requestTimeoutMs);
    const recorded = await this.scheduler.run({ flow: flowKey(principal), signal }, () =>
      this.audit.create(principal, event, { claim, signal }),
    );
    const { text } = recorded;
    const { status, headers: own } = eventWriteResponse(recorded);
    const headers = ['Content-Type', JSON_TYPE, 'Content-Length', String(Buffer.byteLength(text))];
    headers.push(...own);
    writeStamped(request, response, status, headers, [text]); // a string is sent in one piece with the headers
  }
}

function validEventIn(body: Buffer): CreateAuditEventDto | undefined {
  try {
    const value = parseJsonBytes(body);
    return validate(CreateAuditEventDto, value).length === 0
      ? (value as CreateAuditEventDto)
      : undefined;
  } catch {
    return undefined;
  }
}
