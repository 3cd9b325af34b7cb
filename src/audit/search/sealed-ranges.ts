import {
  Injectable,
  Logger,
  type OnApplicationBootstrap,
  type OnModuleDestroy,
} from '@nestjs/common';
import { Database } from '../../platform/database/database';
import { findPartitions } from '../../platform/database/partition-catalog';
import {
  findSeals,
  intersectRanges,
  type SealedRange,
  sealedRanges,
} from '../../platform/database/seals';
import { EVENT_TABLE } from '../event/audit-event';
import { SEARCH_INDEXES } from './search-indexes';

const REFRESH_MS = 30_000;
/** Replicas that started together drift apart. */
const JITTER = 0.2;

/**
 * The ranges of time whose events are found by index, from PostgreSQL's catalogue. What is kept may be half a minute
 * old: a new seal is not used yet, and without one that was dropped a statement is right, only slower.
 */
@Injectable()
export class SealedRanges implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = new Logger(SealedRanges.name);
  private ranges = new Map<string, SealedRange[]>();
  private timer: NodeJS.Timeout | undefined;
  private isStopping = false;

  constructor(private readonly database: Database) {}

  /** Ranges that all of these indexes cover, oldest first, without overlaps. */
  of(...keys: readonly string[]): readonly SealedRange[] {
    const [first = [], ...others] = keys.map((key) => this.ranges.get(key) ?? []);
    return others.reduce<SealedRange[]>(intersectRanges, [...first]);
  }

  onApplicationBootstrap(): void {
    this.refreshAfter(0);
  }

  onModuleDestroy(): void {
    this.isStopping = true;
    clearTimeout(this.timer);
  }

  /** Reads them again. @throws AppError as Database. */
  async refresh(): Promise<void> {
    this.ranges = await this.database.withClient(async (client) => {
      const partitions = await findPartitions(client, EVENT_TABLE);
      const seals = await findSeals(client, EVENT_TABLE, SEARCH_INDEXES);
      return new Map(
        SEARCH_INDEXES.map(({ key }) => [key, sealedRanges(partitions, seals, key)] as const),
      );
    });
  }

  private refreshAfter(delayMs: number): void {
    if (this.isStopping) return;
    this.timer = setTimeout(() => {
      this.refresh()
        .catch((error: unknown) =>
          this.logger.debug(
            `The sealed ranges were not read, and are tried again: ${String(error)}`,
          ),
        )
        .finally(() => this.refreshAfter(REFRESH_MS * (1 - JITTER + 2 * JITTER * Math.random())));
    }, delayMs).unref();
  }
}
