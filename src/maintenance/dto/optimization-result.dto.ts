import { ApiProperty } from '@nestjs/swagger';

const BYTES = { type: 'integer' } as const;

/** What was done about one month of a partitioned table. */
export class PartitionOptimizationDto {
  @ApiProperty({ type: String, example: 'events' })
  table!: string;

  @ApiProperty({ type: String, example: '2027-02', description: 'The month, in UTC.' })
  month!: string;

  @ApiProperty({ type: String, enum: ['created', 'skipped'], example: 'created' })
  action!: 'created' | 'skipped';

  @ApiProperty({ type: String, example: 'It was missing: 3 months are made ahead.' })
  reason!: string;
}

/** What was done about an index, or should be looked into. */
export class IndexOptimizationDto {
  @ApiProperty({ type: String, example: 'events_pkey_ccnew' })
  index!: string;

  @ApiProperty({ type: String, example: 'events_202611' })
  table!: string;

  @ApiProperty({
    type: String,
    enum: ['dropped', 'skipped', 'suggested'],
    example: 'dropped',
    description: '`suggested`: nothing was done; the reason gives the evidence.',
  })
  action!: 'dropped' | 'skipped' | 'suggested';

  @ApiProperty({ type: String, example: 'Left behind by a REINDEX that was interrupted.' })
  reason!: string;

  @ApiProperty({ ...BYTES, example: 8_192 })
  sizeBytes!: number;
}

/** What became of one table that was due for VACUUM or ANALYZE. */
export class TableMaintenanceDto {
  @ApiProperty({ type: String, example: 'events_202611' })
  table!: string;

  @ApiProperty({ type: String, enum: ['done', 'skipped'], example: 'done' })
  action!: 'done' | 'skipped';

  @ApiProperty({ type: String, example: '12000 dead rows beside 48000 live ones (due from 650).' })
  reason!: string;

  @ApiProperty({ type: 'integer', example: 48_000 })
  liveRows!: number;

  @ApiProperty({ type: 'integer', example: 12_000 })
  deadRowsBefore!: number;

  @ApiProperty({ type: 'integer', example: 0 })
  deadRowsAfter!: number;

  @ApiProperty({ type: 'integer', example: 210, description: 'Milliseconds.' })
  durationMs!: number;
}

/** What became of one bloated index. */
export class ReindexResultDto {
  @ApiProperty({ type: String, example: 'events_202611_pkey' })
  index!: string;

  @ApiProperty({ type: String, example: 'events_202611' })
  table!: string;

  @ApiProperty({ type: String, enum: ['done', 'skipped'], example: 'done' })
  action!: 'done' | 'skipped';

  @ApiProperty({ type: String, example: 'About 74 % of its 12.5 MB are empty (estimated).' })
  reason!: string;

  @ApiProperty({ ...BYTES, example: 13_107_200 })
  sizeBytesBefore!: number;

  @ApiProperty({ ...BYTES, example: 3_407_872 })
  sizeBytesAfter!: number;

  @ApiProperty({ type: 'integer', example: 74, description: 'Percent, before; an estimate.' })
  estimatedBloatPercent!: number;

  @ApiProperty({ type: 'integer', example: 480, description: 'Milliseconds.' })
  durationMs!: number;
}

export class MaintenanceResultsDto {
  @ApiProperty({ type: () => [TableMaintenanceDto], description: 'VACUUM (ANALYZE).' })
  vacuumResults!: TableMaintenanceDto[];

  @ApiProperty({ type: () => [TableMaintenanceDto], description: 'ANALYZE alone.' })
  analyzeResults!: TableMaintenanceDto[];

  @ApiProperty({ type: () => [ReindexResultDto], description: 'REINDEX CONCURRENTLY.' })
  reindexResults!: ReindexResultDto[];
}

/** A setting of PostgreSQL that should be another. Nothing is changed. */
export class ConfigRecommendationDto {
  @ApiProperty({ type: String, example: 'max_wal_size' })
  setting!: string;

  @ApiProperty({ type: String, example: '1024MB' })
  currentValue!: string;

  @ApiProperty({ type: String, example: '2048MB' })
  recommendedValue!: string;

  @ApiProperty({
    type: String,
    example: '40 of 50 checkpoints were forced by the amount of WAL rather than by time.',
  })
  reason!: string;
}

/** What an optimisation did, what it skipped, and what it recommends. Only what was due is listed. */
export class DatabaseOptimizationResultDto {
  @ApiProperty({ type: () => [PartitionOptimizationDto] })
  partitionOptimization!: PartitionOptimizationDto[];

  @ApiProperty({ type: () => [IndexOptimizationDto] })
  indexOptimization!: IndexOptimizationDto[];

  @ApiProperty({ type: () => MaintenanceResultsDto })
  maintenanceResults!: MaintenanceResultsDto;

  @ApiProperty({ type: () => [ConfigRecommendationDto] })
  configOptimization!: ConfigRecommendationDto[];

  @ApiProperty({ type: String, format: 'date-time', example: '2026-11-23T10:30:00.123Z' })
  timestamp!: string;
}
