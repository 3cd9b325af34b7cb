import type { ConfigType } from '@nestjs/config';
import { defineConfig } from './define-config';
import { secret, text, url } from './variables';

/** Where traces go. The names are OpenTelemetry's own; its SDK reads further ones (sampling, batching) by itself. */
export const tracingConfig = defineConfig(
  'tracing',
  {
    /** Base URL of an OTLP/HTTP receiver; unset means no tracing. */
    endpoint: url('OTEL_EXPORTER_OTLP_ENDPOINT', ['http', 'https']),
    /** Headers for the receiver, as `name=value,name=value`. */
    headers: secret('OTEL_EXPORTER_OTLP_HEADERS'),
    /** Name of the service in traces. */
    serviceName: text(
      'OTEL_SERVICE_NAME',
      /^[^\s]{1,100}$/,
      'be 1 to 100 characters without spaces',
    ),
  },
  { derive: ({ headers = '', ...settings }) => ({ ...settings, headers: headersOf(headers) }) },
);

export type TracingConfig = ConfigType<typeof tracingConfig>;

/** Percent-encoded values, as OpenTelemetry's specification has them. */
function headersOf(given: string): Record<string, string> {
  const pairs = given
    .split(',')
    .map((pair) => pair.trim())
    .filter((pair) => pair.includes('='))
    .map((pair): [string, string] => {
      const at = pair.indexOf('=');
      return [pair.slice(0, at).trim(), decoded(pair.slice(at + 1).trim())];
    });
  return Object.fromEntries(pairs);
}

function decoded(given: string): string {
  try {
    return decodeURIComponent(given);
  } catch {
    return given;
  }
}
