import type { ReadableSpan, SpanProcessor } from '@opentelemetry/sdk-trace-node';

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
export class SpanScrubber implements SpanProcessor {
  constructor(private readonly next: SpanProcessor) {}

  onStart: SpanProcessor['onStart'] = (span, context) => this.next.onStart(span, context);

  onEnd(span: ReadableSpan): void {
    for (const key of Object.keys(span.attributes)) {
      if (!ALLOWED.has(key)) delete span.attributes[key];
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
