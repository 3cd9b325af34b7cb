import { Injectable } from '@nestjs/common';
import type { ClientBase } from 'pg';
import type { SealedIndex } from './seals';

/** Table partitioned by time (partition-ranges.ts). */
export interface PartitionedTable {
  table: string;
  /** Number of months after the current one for which partitions are created ahead. */
  ahead: number;
  /** Days of retention; 0 for unlimited. */
  retentionDays: number;
  /**
   * Runs when rows are hidden, before the table `hidden`, which still has them, is dropped. After an interruption it runs
   * again for the same rows. A failure postpones the drop.
   */
  afterHidden?: (client: ClientBase, hidden: string) => Promise<void>;
  /**
   * Finds a row that was stored between these moments (milliseconds since 1970), which proves that the clock of a new
   * process is not years ahead. Without such a row retention begins after a day.
   */
  wasRecordedBetween?: (client: ClientBase, fromMs: number, toMs: number) => Promise<boolean>;
  /** Indexes that maintenance builds for ranges that no longer change. */
  sealedIndexes?: readonly SealedIndex[];
}

/** Table whose rows expire. */
export interface ExpiringTable {
  table: string;
  /** Indexed `timestamptz` column. */
  timeColumn: string;
  keepHours: number;
}

/** Registry of tables for maintenance, to which their owners add them. */
@Injectable()
export class MaintainedTables {
  private readonly partitionedTables = new Map<string, PartitionedTable>();
  private readonly expiringTables = new Map<string, ExpiringTable>();

  addPartitioned(table: PartitionedTable): void {
    this.partitionedTables.set(table.table, table);
  }

  addExpiring(table: ExpiringTable): void {
    this.expiringTables.set(table.table, table);
  }

  partitioned(): PartitionedTable[] {
    return [...this.partitionedTables.values()];
  }

  expiring(): ExpiringTable[] {
    return [...this.expiringTables.values()];
  }
}
