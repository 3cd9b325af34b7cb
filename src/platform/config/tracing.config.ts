import type { ConfigType } from '@nestjs/config';
import { defineConfig } from './define-config';
import { secret, text, url } from './variables';

/** Receiver of traces, under OpenTelemetry's names; its SDK reads further ones (sampling, batching). */
export const tracingConfig = defineConfig(
  'tracing',
  {
    /** Base URL of an OTLP/HTTP receiver; unset disables tracing. */
    endpoint: url('OTEL_EXPORTER_OTLP_ENDPOINT', ['http', 'https']),
    /** Format: `name=value,name=value`. */
    headers: secret('OTEL_EXPORTER_OTLP_HEADERS'),
    serviceName: text(
      'OTEL_SERVICE_NAME',
      /^[^\s]{1,100}$/,
      'be 1 to 100 characters without spaces',
    ),
  },
  { derive: ({ headers = '', ...settings }) => ({ ...settings, headers: headersOf(headers) }) },
);

export type TracingConfig = ConfigType<typeof tracingConfig>;

/** Percent-encoded by OpenTelemetry's specification. */
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
