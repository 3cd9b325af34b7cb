import {
  applyDecorators,
  type ArgumentsHost,
  type CallHandler,
  Catch,
  Controller,
  type ExceptionFilter,
  type ExecutionContext,
  HttpCode,
  Injectable,
  type NestInterceptor,
  Post,
  Req,
  Res,
  UseFilters,
  UseInterceptors,
} from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { Observable } from 'rxjs';
import { Scopes } from '../../auth/auth.guard';
import { CurrentPrincipal, type Principal } from '../../auth/principal';
import { LimitConcurrency } from '../../concurrency/fair-scheduler';
import { LargeBodyInterceptor } from '../../concurrency/large-body-limiter';
import { BodyMemoryLimiter } from '../../http/body-memory-limiter';
import { BodyReader, type BodyRequest, RAW_BODY, requireUtf8 } from '../../http/body-reader';
import type { WritableResponse } from '../../http/http-server.adapter';
import { Operation } from '../../http/operation.openapi';
import { requestIdOf, RequestSignal } from '../../http/request-context';
import { AppError, ERROR_TABLE, validationFailed } from '../../platform/errors/app-error';
import { beginProblem, toAppError } from '../../platform/errors/problem';
import type { OtlpEncoding } from '../event/formats/otlp/log-record';
import { OTLP_JSON } from '../event/formats/otlp/otlp-json';
import { OTLP_PROTOBUF } from '../event/formats/otlp/otlp-protobuf';
import { OtlpIngest } from '../ingest/otlp-ingest';
import { organizationFor } from '../ingest/sent-events';
import { EXPORT_LOGS } from './otlp-logs.openapi';

/** Outside the prefix of the API: exporters append this path to their endpoint. */
export const LOGS_PATH = 'v1/logs';

const ENCODINGS: readonly OtlpEncoding[] = [OTLP_PROTOBUF, OTLP_JSON];

/** The encoding of a body; undefined for another media type. */
function encodingOf(headers: IncomingHttpHeaders): OtlpEncoding | undefined {
  const type = headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase();
  return ENCODINGS.find(({ mediaType }) => mediaType === type);
}

function requireEncoding(headers: IncomingHttpHeaders): OtlpEncoding {
  const encoding = encodingOf(headers);
  if (encoding) return encoding;
  const types = ENCODINGS.map(({ mediaType }) => mediaType).join(' or ');
  throw new AppError('UNSUPPORTED_MEDIA_TYPE', `Send the log records as Content-Type: ${types}.`);
}

/** Reads the bytes of a body in one of the encodings. */
@Injectable()
class OtlpBytesInterceptor implements NestInterceptor {
  constructor(private readonly reader: BodyReader) {}

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const http = context.switchToHttp();
    const request = http.getRequest<BodyRequest>();
    if (requireEncoding(request.headers) === OTLP_JSON)
      requireUtf8(request.headers['content-type']);
    if (request.headers['idempotency-key'] !== undefined) {
      const message = 'cannot be used with OTLP, whose records have ids of their own';
      throw validationFailed([{ path: 'Idempotency-Key', message }]);
    }
    await this.reader.readAnyBytes(request, http.getResponse<Response>());
    return next.handle();
  }
}

/** As BulkBody: bytes without a permit, large ones with theirs, work with the ordinary one. */
function OtlpBody(): MethodDecorator {
  return applyDecorators(
    UseInterceptors(OtlpBytesInterceptor, LargeBodyInterceptor),
    LimitConcurrency(),
  );
}

/** Codes of google.rpc.Code by those of HTTP. */
const RPC_CODES: Readonly<Record<number, number>> = {
  400: 3,
  401: 16,
  403: 7,
  404: 5,
  409: 6,
  413: 8,
  415: 3,
  429: 8,
  499: 1,
  503: 14,
  504: 4,
};
const RPC_INTERNAL = 13;

/** Responds with google.rpc.Status in the encoding of the request, JSON for a request in none. */
@Catch()
class OtlpErrorFilter implements ExceptionFilter {
  catch(thrown: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const [request, response] = [
      http.getRequest<IncomingMessage>(),
      http.getResponse<ServerResponse>(),
    ];
    const error = toAppError(thrown);
    const problem = beginProblem(error, request, response, requestIdOf(request));
    if (!problem) return;
    const { mediaType, status } = encodingOf(request.headers) ?? OTLP_JSON;
    const { headers } = problem;
    for (let at = 0; at < headers.length; at += 2) {
      response.setHeader(headers[at] ?? '', headers[at + 1] ?? '');
    }
    const code = RPC_CODES[ERROR_TABLE[error.code].status] ?? RPC_INTERNAL;
    send(response, problem.status, mediaType, status(code, error.detail));
  }
}

function send(
  response: ServerResponse,
  status: number,
  mediaType: string,
  body: Buffer,
): ServerResponse {
  response.statusCode = status;
  response.setHeader('Content-Type', mediaType);
  response.setHeader('Content-Length', body.length);
  return response.end(body);
}

/** OTLP/HTTP for log records: OpenTelemetry's SDKs and Collector as senders of events. */
@ApiTags('audit events')
@Controller(LOGS_PATH)
@UseFilters(OtlpErrorFilter)
export class OtlpLogsController {
  constructor(
    private readonly ingest: OtlpIngest,
    private readonly memory: BodyMemoryLimiter,
  ) {}

  @Post()
  @HttpCode(200)
  @Scopes('audit:write')
  @OtlpBody()
  @Operation(EXPORT_LOGS)
  async export(
    @CurrentPrincipal() principal: Principal,
    @Req() request: BodyRequest,
    @Res({ passthrough: true }) response: Response,
    @RequestSignal() signal: AbortSignal | undefined,
  ): Promise<WritableResponse> {
    const encoding = requireEncoding(request.headers);
    const { rejected, errorMessage } = await this.ingest.record(principal, {
      encoding,
      body: request[RAW_BODY] ?? Buffer.alloc(0),
      organizationId: organizationFor(request.headers, principal),
      reserve: (bytes) => this.memory.reserveMore(bytes, response),
      signal,
    });
    const body = encoding.response(rejected, errorMessage);
    return { writeTo: (to) => send(to, 200, encoding.mediaType, body) };
  }
}
