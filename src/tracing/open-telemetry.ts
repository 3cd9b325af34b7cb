import type { Span } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { registerInstrumentations } from '@opentelemetry/instrumentation';
import { GraphQLInstrumentation } from '@opentelemetry/instrumentation-graphql';
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http';
import { PgInstrumentation } from '@opentelemetry/instrumentation-pg';
import { RedisInstrumentation } from '@opentelemetry/instrumentation-redis';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  NodeTracerProvider,
  type ReadableSpan,
  type SpanProcessor,
} from '@opentelemetry/sdk-trace-node';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TracingConfig } from '../platform/config/settings';
import { withTimeout } from '../platform/runtime/abort';

const STOP_TIMEOUT_MS = 2000;

/**
 * Sends spans of HTTP requests (fast routes too), GraphQL, PostgreSQL and Redis to an OTLP/HTTP receiver in batches. An
 * outage loses spans, never requests.
 */
export class OpenTelemetry {
  private readonly provider: NodeTracerProvider;

  constructor({ endpoint, headers, serviceName }: TracingConfig) {
    const exporter = new OTLPTraceExporter({
      url: `${endpoint?.replace(/\/+$/, '')}/v1/traces`,
      headers,
    });
    this.provider = new NodeTracerProvider({
      resource: resourceFromAttributes({ 'service.name': serviceName }),
      spanProcessors: [new SpanScrubber(new BatchSpanProcessor(exporter))],
    });
    this.provider.register(); // W3C Trace Context in, AsyncLocalStorage between
    registerInstrumentations({
      tracerProvider: this.provider,
      instrumentations: [
        new HttpInstrumentation({
          disableOutgoingRequestInstrumentation: true,
          requestHook: (span, request) => keepTrace(span, request as IncomingMessage),
          applyCustomAttributesOnSpan: (span, request, response) => {
            nameSpan(span, request as IncomingMessage);
            noteTimes(span, response as ServerResponse);
          },
        }),
        new GraphQLInstrumentation({ mergeItems: true, ignoreTrivialResolveSpans: true }),
        new PgInstrumentation({ requireParentSpan: true, ignoreConnectSpans: true }),
        new RedisInstrumentation({
          requireParentSpan: true,
          dbStatementSerializer: (command) => command, // keys name organizations
        }),
      ],
    });
  }

  /** Sends the rest, for at most two seconds. */
  async stop(): Promise<void> {
    const stopped = this.provider.shutdown().catch(() => undefined);
    await withTimeout(stopped, STOP_TIMEOUT_MS);
  }
}

/* Modules about requests are required after the instrumentation, as they load `node:http`. */

/** Gives the request's log line the same span. */
function keepTrace(span: Span, request: IncomingMessage): void {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- see above
  const module = require('../http/request-context') as typeof import('../http/request-context');
  const { traceId, spanId } = span.spanContext();
  module.keepTraceContext(request, { traceId, spanId });
}

/** Names spans after routes, as paths hold ids. */
function nameSpan(span: Span, request: IncomingMessage): void {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- see above
  const module = require('../http/request-context') as typeof import('../http/request-context');
  const route = module.routeOf(request);
  span.setAttribute('http.route', route);
  span.updateName(`${request.method} ${route}`);
}

/** Prefix of the milliseconds that a slow request spent: `audit.time.queue`, `audit.time.sql` … */
const TIME_PREFIX = 'audit.time.';

/** Tells where the time of a slow request went: its spans alternate, so they are sums and not spans of the trace. */
function noteTimes(span: Span, response: ServerResponse): void {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- see above
  const module = require('../http/request-times') as typeof import('../http/request-times');
  for (const [name, ms] of Object.entries(module.slowSpansOf(response) ?? {})) {
    span.setAttribute(`${TIME_PREFIX}${name}`, ms);
  }
}

/** Attributes that may leave the process. Others could hold client data: queries, paths, arguments. */
const ALLOWED = new Set([
  'http.method',
  'http.request.method',
  'http.response.status_code',
  'http.route',
  'http.scheme',
  'http.status_code',
  'http.flavor',
  'url.scheme',
  'network.protocol.version',
  'network.transport',
  'error.type',
  'db.system',
  'db.system.name',
  'db.name',
  'db.namespace',
  'db.operation',
  'db.operation.name',
  'db.query.summary',
  // Statements of this service with $1, $2 … in place of values.
  'db.statement',
  'db.query.text',
  'db.postgresql.plan',
  'graphql.operation.type',
  'graphql.field.name',
  'graphql.field.path',
  'graphql.field.type',
]);

/** Removes other attributes before `next` gets a span. */
class SpanScrubber implements SpanProcessor {
  constructor(private readonly next: SpanProcessor) {}

  onStart: SpanProcessor['onStart'] = (span, context) => this.next.onStart(span, context);

  onEnd(span: ReadableSpan): void {
    for (const key of Object.keys(span.attributes)) {
      if (!ALLOWED.has(key) && !key.startsWith(TIME_PREFIX)) delete span.attributes[key];
    }
    // Error messages may quote the input.
    for (const { attributes } of span.events) {
      delete attributes?.['exception.message'];
      delete attributes?.['exception.stacktrace'];
    }
    delete span.status.message;
    this.next.onEnd(span);
  }

  forceFlush(): Promise<void> {
    return this.next.forceFlush();
  }

  shutdown(): Promise<void> {
    return this.next.shutdown();
  }
}
