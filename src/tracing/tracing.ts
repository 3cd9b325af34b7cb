import { ConfigError } from '../platform/config/load-environment';
import { tracingConfig } from '../platform/config/settings';

/**
 * Starts tracing when OTEL_EXPORTER_OTLP_ENDPOINT is set. main.ts imports this first, as only modules loaded later are
 * traced; without the variable OpenTelemetry is not loaded.
 */
export const tracing = start();

function start() {
  try {
    const config = tracingConfig();
    if (config.endpoint === undefined) return undefined;
    // An import would load it always, `import()` too late.
    // eslint-disable-next-line @typescript-eslint/no-require-imports
    const { OpenTelemetry } = require('./open-telemetry') as typeof import('./open-telemetry');
    return new OpenTelemetry(config);
  } catch (error) {
    if (error instanceof ConfigError) return undefined; // assertConfiguration reports it
    throw error;
  }
}
