import { Inject, Injectable, type OnApplicationShutdown } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { type HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';
import { mkdir, statfs } from 'node:fs/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import { monitoringConfig } from '../config/monitoring.config';
import { serverConfig } from '../config/server.config';

const MIN_FREE_DISK_PERCENT = 5;
const SLOW_LOOP_MS = 200;
const NANOSECONDS_PER_MS = 1e6;

/** How the process itself is: heap, disk and event loop. Impaired is `degraded`; none of it makes the service unready. */
@Injectable()
export class ProcessHealthIndicator implements OnApplicationShutdown {
  private readonly loop = monitorEventLoopDelay({ resolution: 20 });

  constructor(
    private readonly health: HealthIndicatorService,
    @Inject(monitoringConfig.KEY) private readonly limits: ConfigType<typeof monitoringConfig>,
    @Inject(serverConfig.KEY) private readonly server: ConfigType<typeof serverConfig>,
  ) {
    this.loop.enable();
  }

  onApplicationShutdown(): void {
    this.loop.disable();
  }

  /** The heap against the limit V8 would stop at; degraded above MEMORY_ALERT_PERCENT. */
  memory(): HealthIndicatorResult {
    const { used_heap_size: usedBytes, heap_size_limit: limitBytes } = getHeapStatistics();
    const usedPercent = Math.round((1000 * usedBytes) / limitBytes) / 10;
    const check = this.health.check('memory');
    const data = { usedBytes, limitBytes, usedPercent };
    return usedPercent > this.limits.memoryAlertPercent ? check.degraded(data) : check.up(data);
  }

  /** Room on the disk of DATA_DIR; degraded when under five percent is free. */
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

  /** How late timers fire, since the last check; degraded when one in a hundred is over 200 ms late. */
  eventLoop(): HealthIndicatorResult {
    const p99Ms = Math.round(this.loop.percentile(99) / NANOSECONDS_PER_MS);
    this.loop.reset();
    const check = this.health.check('eventLoop');
    return p99Ms > SLOW_LOOP_MS ? check.degraded({ p99Ms }) : check.up({ p99Ms });
  }
}
