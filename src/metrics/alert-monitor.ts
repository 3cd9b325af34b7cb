import {
  type BeforeApplicationShutdown,
  Inject,
  Injectable,
  Logger,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { monitoringConfig } from '../platform/config/monitoring.config';
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

/** Rounds between two looks at partitions, a minute by default: they go missing once a month at most. */
const PARTITION_ROUNDS = 30;

/**
 * Holds the figures against their limits, every ALERT_INTERVAL_MS. What has to be asked of the database is asked beside
 * that, one question of each kind at a time: it may take as long as the fault that is looked for.
 */
@Injectable()
export class AlertMonitor implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger('Alerts');
  private timer: NodeJS.Timeout | undefined;
  private evaluations = 0;
  private readonly asking = new Map<string, Promise<void>>();

  constructor(
    private readonly board: AlertState,
    private readonly recorder: RequestRecorder,
    private readonly sources: MeasurementSources,
    @Inject(monitoringConfig.KEY) private readonly config: ConfigType<typeof monitoringConfig>,
  ) {}

  onApplicationBootstrap(): void {
    if (!this.config.enabled) return;
    this.timer = setInterval(() => this.tick(), this.config.alertIntervalMs).unref();
  }

  /** Questions under way are waited for: after this phase their connections are closed. */
  async beforeApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    await Promise.all(this.asking.values());
  }

  private tick(): void {
    try {
      this.judge();
    } catch (error) {
      this.logger.error(`A round of alerts failed: ${String(error)}`);
    }
    this.ask('database', () => this.askDatabase());
    if (this.evaluations % PARTITION_ROUNDS === 0)
      this.ask('partitions', () => this.askPartitions());
    this.evaluations += 1;
  }

  private judge(): void {
    const { board, config, sources } = this;
    board.apply(memoryRule(memoryUsage(), config));
    board.apply(cacheRule(sources.find('cache')?.(), config));
    board.apply(concurrencyRule(sources.find('concurrency')?.(), config));
    board.apply(slowRequestsRule(this.recorder.lastSeconds(config.alertWindowSeconds), config));
    board.apply(poolRule(sources.find('pool')?.()));
    board.apply(lossRule(sources.find('losses')?.()));
    board.apply(stallRule(sources.find('stalledCommits')?.() ?? false));
    const redis = sources.find('redis');
    if (redis) board.apply(redisRule(redis()));
  }

  private async askDatabase(): Promise<void> {
    const answers = this.sources.find('database');
    if (answers) this.board.apply(databaseRule(await answers()));
  }

  /** A database that does not answer says nothing about its partitions. */
  private async askPartitions(): Promise<void> {
    const missing = await this.sources
      .find('missingPartitions')?.()
      .catch(() => undefined);
    if (missing) this.board.apply(partitionRule(missing));
  }

  private ask(name: string, question: () => Promise<void>): void {
    if (this.asking.has(name)) return;
    const answer = question()
      .catch((error: unknown) => this.logger.error(`Asking for ${name} failed: ${String(error)}`))
      .finally(() => this.asking.delete(name));
    this.asking.set(name, answer);
  }
}
