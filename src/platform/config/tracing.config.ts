import { registerAs } from '@nestjs/config';
import { loadEnvironment } from './load-environment';
import { EnvVariables, readEnv } from './read-env';
import { SecretVariable, TextVariable, UrlVariable } from './variable.decorators';

/** Where traces go. The names are OpenTelemetry's own; its SDK reads further ones (sampling, batching) by itself. */
export class TracingEnv extends EnvVariables {
  /** Base URL of an OTLP/HTTP receiver; unset means no tracing. */
  @UrlVariable(['http', 'https'])
  readonly OTEL_EXPORTER_OTLP_ENDPOINT?: string;

  /** Headers for the receiver, as `name=value,name=value`. */
  @SecretVariable()
  readonly OTEL_EXPORTER_OTLP_HEADERS?: string;

  /** What the service is called in traces. */
  @TextVariable(/^[^\s]{1,100}$/, 'be 1 to 100 characters without spaces')
  readonly OTEL_SERVICE_NAME!: string;
}

export interface TracingConfig {
  /** Undefined means that nothing is traced. */
  endpoint?: string;
  headers: Record<string, string>;
  serviceName: string;
}

/** Settings of tracing. Throws a ConfigError. */
export const tracingConfig = registerAs(
  'tracing',
  (environment = loadEnvironment()): TracingConfig => {
    const env = readEnv(TracingEnv, environment);
    return {
      endpoint: env.OTEL_EXPORTER_OTLP_ENDPOINT,
      headers: headersOf(env.OTEL_EXPORTER_OTLP_HEADERS ?? ''),
      serviceName: env.OTEL_SERVICE_NAME,
    };
  },
);

/** Percent-encoded values, as OpenTelemetry's specification has them. */
function headersOf(text: string): Record<string, string> {
  const pairs = text
    .split(',')
    .map((pair) => pair.trim())
    .filter((pair) => pair.includes('='))
    .map((pair): [string, string] => {
      const at = pair.indexOf('=');
      return [pair.slice(0, at).trim(), decoded(pair.slice(at + 1).trim())];
    });
  return Object.fromEntries(pairs);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
