import {
  Inject,
  Injectable,
  Logger,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { databaseConfig } from '../platform/config/settings';
import { Maintenance } from './maintenance';

/** Late enough not to delay the boot, early enough for processes that never live for an hour. */
const FIRST_AFTER_MS = 1000;
const FIRST_WITHIN_MS = 9000;
/** Replicas that started together drift apart. */
const JITTER = 0.1;

/** Runs soon after the boot, then every DATABASE_UPKEEP_INTERVAL_SECONDS, never twice at once. */
@Injectable()
export class MaintenanceSchedule implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger(MaintenanceSchedule.name);
  private timer: NodeJS.Timeout | undefined;
  private isStopped = false;

  constructor(
    private readonly maintenance: Maintenance,
    @Inject(databaseConfig.KEY) private readonly config: ConfigType<typeof databaseConfig>,
  ) {}

  onApplicationBootstrap(): void {
    const intervalMs = this.config.upkeepIntervalSeconds * 1000;
    if (intervalMs === 0) return;
    const firstMs = FIRST_AFTER_MS + Math.random() * FIRST_WITHIN_MS;
    this.runAfter(Math.min(firstMs, intervalMs), intervalMs);
  }

  onApplicationShutdown(): void {
    this.isStopped = true;
    clearTimeout(this.timer);
  }

  private runAfter(delayMs: number, intervalMs: number): void {
    if (this.isStopped) return;
    this.timer = setTimeout(() => {
      this.maintenance
        .run()
        .catch((error: unknown) =>
          this.logger.warn(`The upkeep did not run: ${String(error)} It is tried again.`),
        )
        .finally(() =>
          this.runAfter(intervalMs * (1 - JITTER + 2 * JITTER * Math.random()), intervalMs),
        );
    }, delayMs).unref();
  }
}
