import { Inject, Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { SchedulerRegistry } from '@nestjs/schedule';
import { databaseConfig } from '../platform/config/database.config';
import { Maintenance } from './maintenance';

const NAME = 'database upkeep';
/** After a boot: late enough not to be in its way, early enough for a process that never lives for an hour. */
const FIRST_AFTER_MS = 1000;
const FIRST_WITHIN_MS = 9000;
/** Replicas that started together drift apart. */
const JITTER = 0.1;

/** When the upkeep runs: soon after the boot, then every DATABASE_UPKEEP_INTERVAL_SECONDS, never twice at once. */
@Injectable()
export class MaintenanceSchedule implements OnApplicationBootstrap {
  private readonly logger = new Logger(MaintenanceSchedule.name);

  constructor(
    private readonly maintenance: Maintenance,
    private readonly registry: SchedulerRegistry,
    @Inject(databaseConfig.KEY) private readonly config: ConfigType<typeof databaseConfig>,
  ) {}

  onApplicationBootstrap(): void {
    const intervalMs = this.config.upkeepIntervalSeconds * 1000;
    if (intervalMs === 0) return;
    const firstMs = FIRST_AFTER_MS + Math.random() * FIRST_WITHIN_MS;
    this.arm(Math.min(firstMs, intervalMs), intervalMs);
  }

  private arm(delayMs: number, intervalMs: number): void {
    const timer = setTimeout(() => {
      this.registry.deleteTimeout(NAME);
      this.maintenance
        .run()
        .catch((error: unknown) =>
          this.logger.warn(`The upkeep did not run: ${String(error)} It is tried again.`),
        )
        .finally(() =>
          this.arm(intervalMs * (1 - JITTER + 2 * JITTER * Math.random()), intervalMs),
        );
    }, delayMs);
    timer.unref();
    this.registry.addTimeout(NAME, timer);
  }
}
