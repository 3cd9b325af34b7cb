import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { Response } from 'express';
import type { Principal } from '../../auth/principal';
import { type BodyRequest, BodyReader, parseJsonBytes } from '../../http/body-reader';
import { headerRepeated } from '../../http/http-server';
import { requestSignal } from '../../http/request-context';
import { auditConfig, serverConfig } from '../../platform/config/settings';
import { AppError, type FieldError, validationFailed } from '../../platform/errors/app-error';
import { EventLoopYielder } from '../../platform/runtime/event-loop-yielder';
import { elementsOf } from '../../platform/runtime/json-members';
import { MAX_EXACT_NUMBERS, UnacceptableJsonError } from '../../platform/runtime/lossless-json';
import { validate } from '../../validation/compiled-validator';
import { CreateAuditEventDto } from '../event/dto/create-audit-event.dto';
import { CLOUDEVENTS } from '../event/formats/cloudevents';
import {
  ATTRIBUTE_HEADER,
  headerOfPlace,
  isBinaryCloudEvent,
  structuredCloudEvent,
} from '../event/formats/cloudevents-http';
import type { SentEvent } from '../event/formats/event-format';
import { atPlaces, eventValue, joinPlaces, organizationFor } from './sent-events';

const STRUCTURED = 'application/cloudevents+json';
const BATCH = 'application/cloudevents-batch+json';
const CLOUDEVENTS_TYPE = /^\s*application\/cloudevents(?:-batch)?(?:[+;\s]|$)/i;
/** Time of one portion in an iteration of the event loop. */
const SLICE_MS = 10;

/** A body as the value of a native one, and the places in what was sent of paths in that value. */
export interface ReadBody {
  value: unknown;
  placeOf: (path: string) => string;
  /** Headers that decide about the events, as text. */
  headers: string;
}

/** Modes of the HTTP binding. */
export type Mode = 'structured' | 'batch' | 'binary';

/** The mode of a request; undefined for a request without CloudEvents. */
export function modeOf({ headers }: Pick<BodyRequest, 'headers'>): Mode | undefined {
  const type = headers['content-type'] ?? '';
  if (!CLOUDEVENTS_TYPE.test(type)) return isBinaryCloudEvent(headers) ? 'binary' : undefined;
  const [mediaType = ''] = type.toLowerCase().split(';');
  if (mediaType.trim() === STRUCTURED) return 'structured';
  if (mediaType.trim() === BATCH) return 'batch';
  throw new AppError(
    'UNSUPPORTED_MEDIA_TYPE',
    `CloudEvents are read as ${STRUCTURED}, as ${BATCH}, or in binary mode.`,
  );
}

/** Reads CloudEvents of requests as the bodies of native ones, which their routes validate and record as any other. */
@Injectable()
export class CloudEventsReader {
  constructor(
    private readonly reader: BodyReader,
    private readonly yielder: EventLoopYielder,
    @Inject(auditConfig.KEY) private readonly limits: ConfigType<typeof auditConfig>,
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
  ) {}

  /**
   * One event in structured or binary mode.
   * @throws AppError as BodyReader; VALIDATION_FAILED with each fault at its attribute or header.
   */
  async readOne(request: BodyRequest, response: Response, principal: Principal): Promise<ReadBody> {
    const isBinary = modeOf(request) === 'binary';
    const { headers } = request;
    const organization = organizationFor(headers, principal);
    if (isBinary) requireSingle(request);
    const bytes = isBinary
      ? await this.reader.readAnyBytes(request, response)
      : await this.reader.readBytes(request, response);
    const inMode = isBinary ? headerOfPlace : (place: string) => place;
    const text = jsonOf(bytes, () =>
      isBinary ? structuredCloudEvent(headers, bytes) : UTF8.decode(bytes),
    );
    let sent: SentEvent | undefined;
    const placeOf = (path: string) => inMode(sent ? sent.placeOf(path) : path);
    try {
      const value = jsonOf(bytes, () => {
        sent = CLOUDEVENTS.read(text);
        return eventValue(sent, organization);
      });
      const deciding = isBinary ? attributeHeaders(request) : [];
      return { value, placeOf, headers: JSON.stringify([organization, deciding]) };
    } catch (error) {
      throw atPlaces(error, placeOf);
    }
  }

  /**
   * A batch as a bulk request. The bytes have been read (BodyBytesInterceptor).
   * @throws AppError as `readOne`, with places such as `[3].type`; the reason of the signal.
   */
  async readBatch(
    request: BodyRequest,
    response: Response,
    principal: Principal,
  ): Promise<ReadBody> {
    const organization = organizationFor(request.headers, principal);
    const bytes = await this.reader.readBytes(request, response);
    const signal = requestSignal(response, this.config.requestTimeoutMs);
    const batch = new Batch(organization);
    const texts = elementsIn(bytes);
    let sliceStartMs = performance.now();
    for (;;) {
      const { done, value: text } = jsonOf(bytes, () => texts.next());
      if (done) break;
      batch.count += 1;
      // The rest is only counted.
      if (batch.count <= this.limits.bulkMaxEvents) jsonOf(bytes, () => batch.add(text));
      if (performance.now() - sliceStartMs < SLICE_MS) continue;
      await this.yielder.yieldIfDue(signal);
      sliceStartMs = performance.now();
    }
    batch.requireValid(this.limits.bulkMaxEvents);
    return {
      value: { events: batch.values },
      placeOf: (path) => batch.placeOf(path),
      headers: JSON.stringify([organization]),
    };
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true });

/** The elements of a batch; of a body that is no array the one fault. */
function* elementsIn(bytes: Buffer): Generator<string, undefined> {
  const text = UTF8.decode(bytes);
  if (!/^\s*\[/.test(text)) {
    parseJsonBytes(bytes);
    throw validationFailed([{ path: '', message: 'must be an array of CloudEvents' }]);
  }
  yield* elementsOf(text);
  return undefined;
}

/**
 * Runs a step on text of `bytes`.
 * @throws AppError MALFORMED_JSON with the position in the body, VALIDATION_FAILED for JSON that is refused.
 */
function jsonOf<T>(bytes: Buffer, step: () => T): T {
  try {
    return step();
  } catch (error) {
    if (error instanceof UnacceptableJsonError) {
      throw validationFailed([{ path: '', message: error.message }]);
    }
    if (error instanceof AppError) throw error;
    parseJsonBytes(bytes); // which says where the text breaks
    throw error;
  }
}

/** Events of a batch, and the faults for which none of them is stored. */
class Batch {
  readonly values: unknown[] = [];
  count = 0;
  private readonly sent: (SentEvent | undefined)[] = [];
  private readonly faults: FieldError[] = [];
  private readonly budget = { left: MAX_EXACT_NUMBERS };

  constructor(private readonly organization: string | undefined) {}

  add(text: string): void {
    const index = this.sent.length;
    this.sent.push(undefined);
    try {
      const sent = CLOUDEVENTS.read(text, this.budget);
      this.sent[index] = sent;
      this.values[index] = eventValue(sent, this.organization, this.budget);
    } catch (error) {
      const fault = this.faultOf(error);
      if (!fault?.errors) throw error;
      const atEvent = fault.errors.map((one) => ({ ...one, path: this.placeIn(index, one.path) }));
      this.faults.push(...atEvent);
      this.values[index] = undefined;
    }
  }

  /** @throws AppError VALIDATION_FAILED with the faults of all events, also of those that only the validator finds. */
  requireValid(max: number): void {
    if (this.count > max) {
      const message = `must be at most ${max} elements, not ${this.count}`;
      throw validationFailed([{ path: '', message }]);
    }
    if (this.faults.length === 0) return;
    this.values.forEach((value, index) => {
      if (value === undefined) return;
      for (const { path, message } of validate(CreateAuditEventDto, value)) {
        this.faults.push({ path: this.placeIn(index, path), message });
      }
    });
    throw validationFailed(this.faults);
  }

  /** `events[3].action` in the batch. */
  placeOf(path: string): string {
    const [, index, rest = ''] = /^events(?:\[(\d+)\]\.?)?(.*)$/s.exec(path) ?? [];
    return index === undefined ? rest : this.placeIn(Number(index), rest);
  }

  private placeIn(index: number, path: string): string {
    return joinPlaces(`[${index}]`, this.sent[index]?.placeOf(path) ?? path);
  }

  private faultOf(error: unknown): AppError | undefined {
    if (error instanceof UnacceptableJsonError) {
      return validationFailed([{ path: '', message: error.message }]);
    }
    return error instanceof AppError ? error : undefined;
  }
}

/** Node joins repeated headers, proxies may have seen another value. @throws AppError VALIDATION_FAILED */
function requireSingle({ rawHeaders }: BodyRequest): void {
  const seen = new Set<string>();
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] ?? '').toLowerCase();
    if (!name.startsWith(ATTRIBUTE_HEADER)) continue;
    if (seen.has(name)) throw headerRepeated(name);
    seen.add(name);
  }
}

function attributeHeaders({ headers }: BodyRequest): [string, unknown][] {
  const names = Object.keys(headers).filter((name) => name.startsWith(ATTRIBUTE_HEADER));
  return ['content-type', ...names.sort()].map((name) => [name, headers[name]]);
}
