import { Injectable, Logger } from '@nestjs/common';
import type { Tenants } from './cache-key';
import type { WarmupResultDto } from './cache.openapi';
import { CachePolicy } from './cache-policy';
import type { CachedRead, ReadDescription } from './cached-read';
import { DEFAULT_READ_POLICY, ResponseCache } from './response-cache';

/** Concurrent reads, few enough not to delay readers. */
const CONCURRENCY = 4;
/** Time after which no read begins: a warm-up is a request, and has to end. */
const BUDGET_MS = 20_000;

/** Response to load; `path` is where readers request it. */
export interface WarmupStep {
  description: ReadDescription;
  path: string;
  /** Returns the step that depends on the content (next page). */
  next?: (tailData: unknown) => WarmupStep | undefined;
}

/** Plan of responses that readers are about to request, which the domain registers. */
export interface WarmupPlan {
  readonly read: CachedRead;

  /** Returns the first steps for tenants, whose reads are expected to go back `days`. */
  steps(tenants: Tenants, days: number): Promise<WarmupStep[]>;
}

/** Loads responses ahead, under the keys that readers will use. */
@Injectable()
export class CacheWarmup {
  private readonly logger = new Logger(CacheWarmup.name);
  private readonly plans: WarmupPlan[] = [];

  constructor(
    private readonly cache: ResponseCache,
    private readonly policy: CachePolicy,
  ) {}

  register(plan: WarmupPlan): void {
    this.plans.push(plan);
  }

  /** Loads the responses of all plans. Cached ones count as warmed up, all others but excluded ones as failed. */
  async run(tenants: Tenants, days: number): Promise<Omit<WarmupResultDto, 'timestamp'>> {
    const deadlineMs = performance.now() + BUDGET_MS;
    const result = { warmedUp: 0, failed: 0, total: 0 };
    const planned = this.plans.map(async (plan) =>
      (await plan.steps(tenants, days))
        .filter(({ path }) => !this.policy.isExcluded(plan.read.namespace, path))
        .map((step) => ({ read: plan.read, step })),
    );
    const queue = (await Promise.all(planned)).flat();
    const work = async (): Promise<void> => {
      for (let entry = queue.shift(); entry; entry = queue.shift()) {
        const { read, step } = entry;
        result.total += 1;
        const next = performance.now() < deadlineMs ? await this.fill(read, step) : 'failed';
        if (next === 'failed') result.failed += 1;
        else {
          result.warmedUp += 1;
          if (next) queue.unshift({ read, step: next });
        }
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, work));
    return result;
  }

  private async fill(
    read: CachedRead,
    { description, path, next }: WarmupStep,
  ): Promise<WarmupStep | undefined | 'failed'> {
    try {
      const { entry, key } = await this.cache.getOrLoad(read, description, {
        path,
        policy: DEFAULT_READ_POLICY,
        isAhead: true,
      });
      if (key === undefined) return 'failed'; // too large to be kept, or only a part
      return next?.(entry.tailData);
    } catch (error) {
      this.logger.warn(
        `A warm-up read failed: ${error instanceof Error ? error.message : String(error)}`,
      );
      return 'failed';
    }
  }
}
