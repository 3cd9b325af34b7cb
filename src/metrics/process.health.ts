import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { type HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';
import { mkdir, statfs } from 'node:fs/promises';
import { monitoringConfig, serverConfig } from '../platform/config/settings';
import { EventLoopDelay, memoryUsage } from './process.metrics';

const MIN_FREE_DISK_PERCENT = 5;
const SLOW_LOOP_MS = 200;

/** Memory, disk and event loop. Impaired is `degraded`; none of it makes the service unready. */
@Injectable()
export class ProcessHealthIndicator {
  constructor(
    private readonly health: HealthIndicatorService,
    @Inject(monitoringConfig.KEY) private readonly limits: ConfigType<typeof monitoringConfig>,
    @Inject(serverConfig.KEY) private readonly server: ConfigType<typeof serverConfig>,
    private readonly loop: EventLoopDelay,
  ) {}

  /** Degraded above MEMORY_ALERT_PERCENT of the nearer limit. */
  memory(): HealthIndicatorResult {
    const { used: usedBytes, total: limitBytes, percentage: usedPercent, limit } = memoryUsage();
    const check = this.health.check('memory');
    const data = { usedBytes, limitBytes, usedPercent, limit };
    return usedPercent > this.limits.memoryAlertPercent ? check.degraded(data) : check.up(data);
  }

  /** Free space on the disk of DATA_DIR; degraded under five percent. */
  async disk(): Promise<HealthIndicatorResult> {
    const check = this.health.check('disk');
    try {
      await mkdir(this.server.dataDir, { recursive: true });
      const { bavail, blocks } = await statfs(this.server.dataDir);
      const freePercent = Math.round((1000 * bavail) / blocks) / 10;
      const data = { freePercent };
      return freePercent < MIN_FREE_DISK_PERCENT ? check.degraded(data) : check.up(data);
    } catch {
      return check.degraded({ message: 'DATA_DIR cannot be read' });
    }
  }

  /** Delay of timers over the last half to whole minute; degraded when one in a hundred is over 200 ms late. */
  eventLoop(): HealthIndicatorResult {
    const p99Ms = Math.round(this.loop.read().p99);
    const check = this.health.check('eventLoop');
    return p99Ms > SLOW_LOOP_MS ? check.degraded({ p99Ms }) : check.up({ p99Ms });
  }
}
