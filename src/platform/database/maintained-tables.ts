import { Injectable } from '@nestjs/common';
import type { ClientBase } from 'pg';
import type { SealedIndex } from './seals';

/** Table partitioned by time (partition-ranges.ts). */
export interface PartitionedTable {
  table: string;
  /** Months after the current one with a partition. */
  ahead: number;
  /** Days of retention; 0 for unlimited. */
  retentionDays: number;
  /**
   * Runs once rows are hidden and before `hidden`, which still holds them, is dropped; again for the same rows after an
   * interruption. A failure defers the drop.
   */
  afterHidden?: (client: ClientBase, hidden: string) => Promise<void>;
  /**
   * Finds a row stored between these moments (milliseconds since 1970): evidence, in the first day of a process, that
   * its clock is not years ahead. Without it retention begins after a day.
   */
  wasRecordedBetween?: (client: ClientBase, fromMs: number, toMs: number) => Promise<boolean>;
  /** Indexes of ranges that have cooled down, built by maintenance. */
  sealedIndexes?: readonly SealedIndex[];
}

/** Table whose rows expire. */
export interface ExpiringTable {
  table: string;
  /** Indexed `timestamptz` column. */
  timeColumn: string;
  keepHours: number;
}

/** Tables of maintenance, registered by their owners. */
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
