import type { ReadableSpan, SpanProcessor } from '@opentelemetry/sdk-trace-node';

/** Attributes that may leave the process. Others could hold what a client sent: queries, paths, arguments. */
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
  // Statements of this service with $1, $2 … where the values are.
  'db.statement',
  'db.query.text',
  'db.postgresql.plan',
  'graphql.operation.type',
  'graphql.field.name',
  'graphql.field.path',
  'graphql.field.type',
]);

/** Removes from each span what is not known to be harmless, before `next` may keep it. */
export class SpanScrubber implements SpanProcessor {
  constructor(private readonly next: SpanProcessor) {}

  onStart: SpanProcessor['onStart'] = (span, context) => this.next.onStart(span, context);

  onEnd(span: ReadableSpan): void {
    for (const key of Object.keys(span.attributes)) {
      if (!ALLOWED.has(key)) delete span.attributes[key];
    }
    // Messages of errors quote what was sent.
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
