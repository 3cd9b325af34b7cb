import {
  type BeforeApplicationShutdown,
  Inject,
  Injectable,
  Logger,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { monitoringConfig } from '../config/monitoring.config';
import { AlertBoard } from './alert-board';
import {
  cacheRule,
  concurrencyRule,
  databaseRule,
  memoryRule,
  partitionRule,
  poolRule,
  redisRule,
  slowRequestsRule,
} from './alert-rules';
import { MetricSources } from './metric-sources';
import { memoryUsage } from './process-memory';
import { RequestRecorder } from './request-recorder';

/** Rounds between two looks at partitions, a minute by default: they go missing once a month at most. */
const PARTITION_ROUNDS = 30;

/** Holds the figures against their limits, every ALERT_INTERVAL_MS. One round at a time, and none fails the next. */
@Injectable()
export class AlertMonitor implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger('Alerts');
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> = Promise.resolve();
  private isRunning = false;
  private rounds = 0;

  constructor(
    private readonly board: AlertBoard,
    private readonly recorder: RequestRecorder,
    private readonly sources: MetricSources,
    @Inject(monitoringConfig.KEY) private readonly config: ConfigType<typeof monitoringConfig>,
  ) {}

  onApplicationBootstrap(): void {
    if (!this.config.enabled) return;
    this.timer = setInterval(() => this.tick(), this.config.alertIntervalMs).unref();
  }

  /** The round under way is waited for: after this phase its connections are closed. */
  async beforeApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    await this.running;
  }

  private tick(): void {
    if (this.isRunning) return;
    this.isRunning = true;
    this.running = this.evaluate()
      .catch((error: unknown) => this.logger.error(`A round of alerts failed: ${String(error)}`))
      .finally(() => {
        this.isRunning = false;
      });
  }

  private async evaluate(): Promise<void> {
    const { board, config, sources } = this;
    board.take(memoryRule(memoryUsage(), config));
    board.take(cacheRule(sources.find('cache')?.(), config));
    board.take(concurrencyRule(sources.find('concurrency')?.(), config));
    board.take(slowRequestsRule(this.recorder.lastSeconds(config.alertWindowSeconds), config));
    board.take(poolRule(sources.find('pool')?.()));
    const redis = sources.find('redis');
    if (redis) board.take(redisRule(redis()));
    const isDatabaseUp = (await sources.find('database')?.()) ?? true;
    board.take(databaseRule(isDatabaseUp));
    if (isDatabaseUp) await this.lookForPartitions();
  }

  /** A database that fails in between says nothing about its partitions. */
  private async lookForPartitions(): Promise<void> {
    const missing = this.sources.find('missingPartitions');
    const isDue = this.rounds % PARTITION_ROUNDS === 0;
    this.rounds += 1;
    if (!missing || !isDue) return;
    const found = await missing().catch(() => undefined);
    if (found) this.board.take(partitionRule(found));
  }
}
