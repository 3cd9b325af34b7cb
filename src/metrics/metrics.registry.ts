import { Injectable } from '@nestjs/common';
import { collectDefaultMetrics, Histogram, type Metric, Registry } from 'prom-client';

export interface Sample {
  labels?: Record<string, string>;
  value: number;
  /** For histograms: `_bucket`, `_sum` or `_count`. */
  suffix?: string;
}

/** Of every metric of the service; `process_` and `nodejs_` are those of prom-client. */
const PREFIX = 'audit_';

/** Called at each scrape. */
export type ReadMetric = () => Iterable<Sample> | number;

/** Gauges that prom-client calls `_total`, against the conventions. */
const MISNAMED = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
];

/**
 * Metrics of the process and those that each capability registers in its `thing.metrics.ts`, read only at the scrape:
 * the owner pays for nothing but the count.
 */
@Injectable()
export class MetricRegistry {
  private readonly registry = new Registry();
  private hasDefaults = false;
  private running: Promise<{ contentType: string; text: string }> | undefined;

  counter(name: string, help: string, read: ReadMetric): void {
    this.register('counter', name, help, read);
  }

  gauge(name: string, help: string, read: ReadMetric): void {
    this.register('gauge', name, help, read);
  }

  /**
   * Registers a name, once: with the prefix, base units, `_total` at the end of counters, and labels of few values. A
   * histogram's samples have suffixes.
   * @throws for a name without the prefix.
   */
  register(
    type: 'counter' | 'gauge' | 'histogram',
    name: string,
    help: string,
    read: ReadMetric,
  ): void {
    requirePrefix(name);
    const metric = { name, help, type, aggregator: 'sum' };
    const get = () => {
      const found = read();
      const samples: Sample[] = typeof found === 'number' ? [{ value: found }] : [...found];
      const values = samples.map(({ labels = {}, value, suffix }) =>
        suffix === undefined ? { labels, value } : { labels, value, metricName: name + suffix },
      );
      return Promise.resolve({ ...metric, values });
    };
    // prom-client calls only `get`; its own classes hold the figures themselves.
    const registered = { ...metric, get, reset: () => undefined };
    this.registry.registerMetric(registered as unknown as Metric);
  }

  /** Histogram that its owner observes, at most some thousand times a second. */
  histogram(name: string, help: string, buckets: number[]): Pick<Histogram, 'observe'> {
    requirePrefix(name);
    return new Histogram({ name, help, buckets, registers: [this.registry] });
  }

  /** Prometheus' text format; one text for simultaneous scrapes, as it is milliseconds of work. */
  text(): Promise<{ contentType: string; text: string }> {
    this.running ??= this.makeText().finally(() => {
      this.running = undefined;
    });
    return this.running;
  }

  private async makeText(): Promise<{ contentType: string; text: string }> {
    this.collectDefaults();
    // Scrapes of this iteration of the event loop are simultaneous.
    await new Promise<void>((resolve) => setImmediate(resolve));
    return { contentType: this.registry.contentType, text: await this.registry.metrics() };
  }

  /** Only at the first scrape: the collectors watch garbage collection and timers, which has its cost. */
  private collectDefaults(): void {
    if (this.hasDefaults) return;
    this.hasDefaults = true;
    collectDefaultMetrics({ register: this.registry });
    for (const name of MISNAMED) this.registry.removeSingleMetric(name);
  }
}

function requirePrefix(name: string): void {
  if (!name.startsWith(PREFIX)) throw new Error(`The metric ${name} has no prefix ${PREFIX}.`);
}

/** Samples that differ in one label. */
export function labelled(label: string, values: Readonly<Record<string, number>>): Sample[] {
  return Object.entries(values).map(([key, value]) => ({ labels: { [label]: key }, value }));
}
