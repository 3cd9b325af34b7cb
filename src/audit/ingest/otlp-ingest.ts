import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { mayWrite, type Principal, requireOrganizations } from '../../auth/principal';
import { auditConfig, serverConfig } from '../../platform/config/settings';
import { AppError, type ErrorCode, type FieldError } from '../../platform/errors/app-error';
import { EventLoopYielder } from '../../platform/runtime/event-loop-yielder';
import { MAX_EXACT_NUMBERS, UnacceptableJsonError } from '../../platform/runtime/lossless-json';
import { validate } from '../../validation/compiled-validator';
import type { NewEvent } from '../event/audit-event';
import { CreateAuditEventDto } from '../event/dto/create-audit-event.dto';
import { logEvent, Repetitions } from '../event/formats/otlp/log-event';
import type { OtlpEncoding, SentRecord } from '../event/formats/otlp/log-record';
import { AuditService } from '../write/audit.service';
import { eventValue, joinPlaces } from './sent-events';

/** Time of one portion in an iteration of the event loop. */
const SLICE_MS = 10;
/** A request may have ten thousand bad records. */
const MAX_FAULTS_TOLD = 20;
/** An event as text, and its parts again in the value that is written. */
const COPIES = 2;
/**
 * Limit of the records of a request, as a multiple of its largest body: each has the attributes of its resource, so a few
 * hundred kilobytes may become gigabytes. 8192 records, a batch of the Collector, with 2.5 kB of resource each fit.
 */
const MAX_EXPANSION = 4;

export interface OtlpRequest {
  encoding: OtlpEncoding;
  body: Buffer;
  /** Of records that name none. */
  organizationId: string | undefined;
  /** Reserves memory for what records become. @throws AppError REQUEST_TOO_LARGE, TOO_MANY_REQUESTS */
  reserve: (bytes: number) => void;
  signal?: AbortSignal;
}

export interface OtlpResult {
  rejected: number;
  /** Names the first rejected records; empty without any. */
  errorMessage: string;
}

/** Records log records of OTLP as events. */
@Injectable()
export class OtlpIngest {
  private rejected = 0;

  constructor(
    private readonly audit: AuditService,
    private readonly yielder: EventLoopYielder,
    @Inject(auditConfig.KEY) private readonly limits: ConfigType<typeof auditConfig>,
    @Inject(serverConfig.KEY) private readonly server: ConfigType<typeof serverConfig>,
  ) {}

  /**
   * Records all records that are events in one transaction; resolves after the commit. The others are rejected one by one.
   * @throws AppError VALIDATION_FAILED (no such message, or no record of it is an event), FORBIDDEN and CONFLICT (of all
   * records), REQUEST_TOO_LARGE (more records than BULK_MAX_EVENTS, or far more text than a body may have), and what AuditService.recordAll throws: nothing is
   * stored then.
   */
  async record(principal: Principal, request: OtlpRequest): Promise<OtlpResult> {
    requireOrganizations(principal);
    const batch = new RecordBatch(principal, request.organizationId, (dto) =>
      this.audit.newEvent(dto),
    );
    let [origins, sliceStartMs] = [0, performance.now()];
    for (const sent of readable(request)) {
      if (!sent) {
        origins += 1;
        if (origins > 2 * this.limits.bulkMaxEvents) throw this.tooMany();
      } else {
        if (batch.count >= this.limits.bulkMaxEvents) throw this.tooMany();
        request.reserve(COPIES * batch.add(sent));
        if (batch.length > MAX_EXPANSION * this.server.requestMaxSizeBytes) throw tooLarge();
      }
      if (performance.now() - sliceStartMs < SLICE_MS) continue;
      await this.yielder.yieldIfDue(request.signal);
      sliceStartMs = performance.now();
    }
    await this.store(principal, batch, request.signal);
    this.rejected += batch.rejected;
    return batch.result();
  }

  /** Records of answered requests that were not stored. */
  get rejectedRecords(): number {
    return this.rejected;
  }

  /**
   * Records with the id of other content, and those that do not match their schema, are rejected, and the rest is tried
   * again: each time there are fewer.
   */
  private async store(
    principal: Principal,
    batch: RecordBatch,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    while (batch.events.length > 0) {
      try {
        await this.audit.recordAll(principal, [...batch.events], signal);
        return;
      } catch (error) {
        if (!(error instanceof AppError) || !REJECTING.has(error.code)) throw error;
        if (!batch.rejectNamed(error)) throw error;
      }
    }
  }

  private tooMany(): AppError {
    const { bulkMaxEvents } = this.limits;
    return new AppError(
      'REQUEST_TOO_LARGE',
      `A request may have ${bulkMaxEvents} records (BULK_MAX_EVENTS), resources and scopes; export in smaller batches.`,
    );
  }
}

function tooLarge(): AppError {
  const times = `${MAX_EXPANSION} times REQUEST_MAX_SIZE_MB`;
  const detail = `The records with their resources have more than ${times}; export in smaller batches.`;
  return new AppError('REQUEST_TOO_LARGE', detail);
}

/** The records of a body. @throws AppError VALIDATION_FAILED where it cannot be read. */
function* readable({ encoding, body }: OtlpRequest): Generator<SentRecord | undefined> {
  try {
    yield* encoding.records(body);
  } catch (cause) {
    const what = `an ExportLogsServiceRequest in ${encoding.mediaType}`;
    throw new AppError('VALIDATION_FAILED', `The body is not ${what}.`, { cause });
  }
}

/** Failures that name the records that they are about. */
const REJECTING = new Set<ErrorCode>(['CONFLICT', 'VALIDATION_FAILED']);

/** The events of a request with the places of their records, and the records that are none. */
class RecordBatch {
  events: NewEvent[] = [];
  /** Characters of all records with their resources, the rejected ones too: they take as long. */
  length = 0;
  private places: ((place: string) => string)[] = [];
  rejected = 0;
  private readonly codes = new Set<ErrorCode>();
  private readonly told: string[] = [];
  private readonly repetitions = new Repetitions();
  private readonly budget = { left: MAX_EXACT_NUMBERS };

  constructor(
    private readonly principal: Principal,
    private readonly organizationId: string | undefined,
    private readonly newEvent: (dto: CreateAuditEventDto) => NewEvent,
  ) {}

  get count(): number {
    return this.events.length + this.rejected;
  }

  /** @returns the characters of its event, 0 for a rejected one. */
  add(sent: SentRecord): number {
    const length = this.lengthOf(sent);
    this.length += length > 0 ? length : charactersOf(sent);
    return length;
  }

  private lengthOf(sent: SentRecord): number {
    if ('fault' in sent) {
      this.reject('VALIDATION_FAILED', [sent.fault]);
      return 0;
    }
    const { path } = sent;
    let placeOf = (place: string) => place;
    try {
      const event = logEvent(sent, this.repetitions);
      // Later faults are of the event.
      placeOf = event.placeOf;
      const value = eventValue(event, this.organizationId, this.budget) as CreateAuditEventDto;
      const errors = validate(CreateAuditEventDto, value);
      if (errors.length > 0) {
        this.reject('VALIDATION_FAILED', placed(path, errors, placeOf));
      } else if (!mayWrite(this.principal, value.organizationId)) {
        const message = 'is not an organization of this token';
        const errorsOf = [{ path: 'organizationId', message }];
        this.reject('FORBIDDEN', placed(path, errorsOf, placeOf));
      } else {
        this.events.push(this.newEvent(value));
        this.places.push((place) =>
          joinPlaces(path, place === 'id' ? place : event.placeOf(place)),
        );
        return event.text.length;
      }
    } catch (error) {
      this.rejectFor(error, path, placeOf);
    }
    return 0;
  }

  /** False when the failure names no event. */
  rejectNamed({ code, errors = [] }: AppError): boolean {
    const named = new Set<number>();
    for (const { path, message } of errors) {
      const [index = '', ...rest] = path.split('.');
      const placeOf = this.places[Number(index)];
      if (placeOf === undefined || named.has(Number(index))) continue;
      named.add(Number(index));
      this.reject(code, [{ path: placeOf(rest.join('.')), message }]);
    }
    this.events = this.events.filter((_, index) => !named.has(index));
    this.places = this.places.filter((_, index) => !named.has(index));
    return named.size > 0;
  }

  /** @throws AppError when there are records and all of them were rejected. */
  result(): OtlpResult {
    const more = this.rejected - this.told.length;
    const errorMessage = `${this.told.join('; ')}${more > 0 ? `; and ${more} more` : ''}`;
    if (this.rejected > 0 && this.events.length === 0) {
      const [code = 'VALIDATION_FAILED', ...others] = this.codes;
      throw new AppError(others.length === 0 ? code : 'VALIDATION_FAILED', errorMessage);
    }
    return { rejected: this.rejected, errorMessage };
  }

  private rejectFor(error: unknown, path: string, placeOf: (place: string) => string): void {
    if (error instanceof UnacceptableJsonError) {
      this.reject('VALIDATION_FAILED', [{ path, message: error.message }]);
    } else if (error instanceof AppError && error.errors) {
      this.reject(error.code, placed(path, error.errors, placeOf));
    } else throw error;
  }

  /** Counts a record, and tells its first fault. */
  private reject(code: ErrorCode, [first]: FieldError[]): void {
    this.rejected += 1;
    this.codes.add(code);
    if (first && this.told.length < MAX_FAULTS_TOLD)
      this.told.push(`${first.path} ${first.message}`);
  }
}

/** Characters of a record that is no event, and of its resource and scope; 0 where they could not be read. */
function charactersOf(sent: SentRecord): number {
  if ('fault' in sent) return 0;
  const parts = [sent.resource, sent.scope, sent.record];
  return parts.reduce((sum, { attributes }) => sum + attributes.characters, 0);
}

function placed(
  path: string,
  errors: readonly FieldError[],
  placeOf: (path: string) => string,
): FieldError[] {
  return errors.map((one) => ({ path: joinPlaces(path, placeOf(one.path)), message: one.message }));
}
