import { Injectable } from '@nestjs/common';
import type { ClientBase } from 'pg';

/** A table partitioned by time (partition-ranges.ts) whose partitions are made ahead and removed by age. */
export interface PartitionedTable {
  table: string;
  /** Months after the current one that always have a partition. */
  ahead: number;
  /** Days that rows are kept; 0 for ever. */
  retentionDays: number;
  /**
   * Called once rows can no longer be seen through the table, before `hidden`, the table that still holds them, is
   * dropped; again for the same rows after an interruption. When it fails, they are dropped later.
   */
  afterHidden?: (client: ClientBase, hidden: string) => Promise<void>;
  /**
   * Whether a row was stored between these moments (milliseconds since 1970): evidence, in the first day of a process,
   * that its clock is not years ahead. Without it retention begins after a day.
   */
  wasRecordedBetween?: (client: ClientBase, fromMs: number, toMs: number) => Promise<boolean>;
}

/** A table whose rows expire. */
export interface ExpiringTable {
  table: string;
  /** A `timestamptz` column with an index. */
  timeColumn: string;
  keepHours: number;
}

/** The tables of maintenance, registered by their owners; `database` knows no table by name. */
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
