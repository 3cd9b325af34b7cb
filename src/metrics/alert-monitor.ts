import {
  type BeforeApplicationShutdown,
  Inject,
  Injectable,
  Logger,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { monitoringConfig } from '../platform/config/settings';
import { AlertState } from './alert-state';
import {
  cacheRule,
  concurrencyRule,
  databaseRule,
  lossRule,
  memoryRule,
  partitionRule,
  poolRule,
  redisRule,
  slowRequestsRule,
  stallRule,
} from './alert-rules';
import { MeasurementSources } from './measurement-sources';
import { memoryUsage } from './process-memory';
import { RequestRecorder } from './request-recorder';

/** Evaluations between two checks of partitions, a minute by default: they go missing once a month at most. */
const PARTITION_EVALUATIONS = 30;

/**
 * Compares figures with limits every ALERT_INTERVAL_MS. Queries run beside that, one of each kind at a time: they may
 * take as long as the fault that they detect.
 */
@Injectable()
export class AlertMonitor implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger('Alerts');
  private timer: NodeJS.Timeout | undefined;
  private evaluations = 0;
  private readonly queries = new Map<string, Promise<void>>();

  constructor(
    private readonly alerts: AlertState,
    private readonly recorder: RequestRecorder,
    private readonly sources: MeasurementSources,
    @Inject(monitoringConfig.KEY) private readonly config: ConfigType<typeof monitoringConfig>,
  ) {}

  onApplicationBootstrap(): void {
    if (!this.config.enabled) return;
    this.timer = setInterval(() => this.tick(), this.config.alertIntervalMs).unref();
  }

  /** Waits for running queries: after this phase their connections are closed. */
  async beforeApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    await Promise.all(this.queries.values());
  }

  private tick(): void {
    try {
      this.evaluate();
    } catch (error) {
      this.logger.error(`A round of alerts failed: ${String(error)}`);
    }
    this.start('database', () => this.checkDatabase());
    if (this.evaluations % PARTITION_EVALUATIONS === 0) {
      this.start('partitions', () => this.checkPartitions());
    }
    this.evaluations += 1;
  }

  private evaluate(): void {
    const { alerts, config, sources } = this;
    alerts.apply(memoryRule(memoryUsage(), config));
    alerts.apply(cacheRule(sources.find('cache')?.(), config));
    alerts.apply(concurrencyRule(sources.find('concurrency')?.(), config));
    alerts.apply(slowRequestsRule(this.recorder.lastSeconds(config.alertWindowSeconds), config));
    alerts.apply(poolRule(sources.find('pool')?.()));
    alerts.apply(lossRule(sources.find('losses')?.()));
    alerts.apply(stallRule(sources.find('stalledCommits')?.() ?? false));
    const redis = sources.find('redis');
    if (redis) alerts.apply(redisRule(redis()));
  }

  private async checkDatabase(): Promise<void> {
    const isUp = this.sources.find('database');
    if (isUp) this.alerts.apply(databaseRule(await isUp()));
  }

  /** A database that does not reply says nothing about its partitions. */
  private async checkPartitions(): Promise<void> {
    const missing = await this.sources
      .find('missingPartitions')?.()
      .catch(() => undefined);
    if (missing) this.alerts.apply(partitionRule(missing));
  }

  private start(name: string, query: () => Promise<void>): void {
    if (this.queries.has(name)) return;
    const running = query()
      .catch((error: unknown) => this.logger.error(`Asking for ${name} failed: ${String(error)}`))
      .finally(() => this.queries.delete(name));
    this.queries.set(name, running);
  }
}
