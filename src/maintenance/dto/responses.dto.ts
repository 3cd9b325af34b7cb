import {
  ApiInstant,
  ApiInteger,
  ApiNumber,
  ApiObject,
  ApiPart,
  ApiParts,
  ApiText,
  ApiTexts,
  ApiWord,
} from '../../validation/dto-properties';

export class ConnectionPoolDto {
  @ApiInteger(8, 'Open now, by the replica that answers.')
  totalConnections!: number;

  @ApiInteger(3, 'Lent out now.')
  activeConnections!: number;

  @ApiInteger(0, 'Waiting for a connection now.')
  waitingRequests!: number;

  @ApiNumber(0.12, 'Milliseconds until a connection was lent, in the last five minutes.', {
    nullable: true,
  })
  averageAcquisitionTime!: number | null;

  @ApiNumber(100, 'Percent of those who asked that got one, in the last five minutes.', {
    nullable: true,
  })
  successRate!: number | null;
}

export class QueryCacheDto {
  @ApiNumber(
    93.75,
    'Hits in percent of requests that could be answered so; null without requests.',
    { nullable: true },
  )
  hitRatio!: number | null;

  @ApiNumber(12.3, 'MiB kept.', { nullable: true })
  totalSizeMB!: number | null;

  @ApiInteger(0, 'Pushed out for room.', { nullable: true })
  evictions!: number | null;
}

export class PartitionFiguresDto {
  @ApiInteger(84)
  totalPartitions!: number;

  @ApiNumber(3.27, 'GiB, with indexes.')
  totalSizeGB!: number;

  @ApiTexts([])
  recommendations!: string[];
}

export class QueryPerformanceDto {
  @ApiInteger(
    0,
    'Statements of this service slower than SLOW_QUERY_THRESHOLD_MS: different ones, on average, with ' +
      'pg_stat_statements; without it those that run right now. The suggestions say which.',
  )
  slowQueries!: number;

  @ApiInteger(
    0,
    'Indexes that no query has used since statistics are collected, all partitions of a table together. Those that hold a constraint do not count.',
  )
  unusedIndexes!: number;

  @ApiNumber(
    99.4,
    'Percent of pages that PostgreSQL found in its own memory; null when it read none.',
    { nullable: true },
  )
  cacheHitRatio!: number | null;

  @ApiTexts(
    ['Statements are not recorded: the extension pg_stat_statements is not installed.'],
    'What could be better, with the evidence, and what cannot be known and why.',
  )
  suggestions!: string[];
}

export class SealedIndexFiguresDto {
  @ApiInteger(588, 'Indexes that are built behind the writes and serve filters.')
  totalIndexes!: number;

  @ApiNumber(2.71, 'GiB.')
  totalSizeGB!: number;

  @ApiInteger(
    31_200,
    'Events that no such index holds yet (an estimate): filters look at them one by one.',
  )
  unsealedEvents!: number;

  @ApiInstant('When the replica that answers last built one; null for never.', { nullable: true })
  lastBuiltAt!: string | null;

  @ApiInteger(0, 'Builds that failed in the replica that answers.')
  failures!: number;

  @ApiTexts([])
  recommendations!: string[];
}

export class DatabasePerformanceReportDto {
  @ApiInstant()
  timestamp!: string;

  @ApiPart(() => ConnectionPoolDto)
  connectionPool!: ConnectionPoolDto;

  @ApiPart(() => QueryCacheDto)
  queryCache!: QueryCacheDto;

  @ApiPart(() => PartitionFiguresDto)
  partitions!: PartitionFiguresDto;

  @ApiPart(() => SealedIndexFiguresDto)
  sealedIndexes!: SealedIndexFiguresDto;

  @ApiPart(() => QueryPerformanceDto)
  performance!: QueryPerformanceDto;
}

export type HealthLevel = 'healthy' | 'warning' | 'critical';
const LEVELS: HealthLevel[] = ['healthy', 'warning', 'critical'];

export class ComponentHealthDto {
  @ApiWord(LEVELS, 'healthy')
  status!: HealthLevel;

  @ApiObject({ totalConnections: 8, waitingRequests: 0 })
  details!: Record<string, unknown>;
}

export class DatabaseComponentsDto {
  @ApiPart(() => ComponentHealthDto)
  connectionPool!: ComponentHealthDto;

  @ApiPart(() => ComponentHealthDto)
  queryCache!: ComponentHealthDto;

  @ApiPart(() => ComponentHealthDto)
  partitions!: ComponentHealthDto;

  @ApiPart(() => ComponentHealthDto)
  performance!: ComponentHealthDto;
}

export class DatabaseHealthStatusDto {
  @ApiWord(LEVELS, 'healthy')
  overall!: HealthLevel;

  @ApiPart(() => DatabaseComponentsDto)
  components!: DatabaseComponentsDto;

  @ApiTexts([])
  recommendations!: string[];
}

export class PartitionOptimizationDto {
  @ApiText('events')
  table!: string;

  @ApiText('2027-02', 'The month, in UTC.')
  month!: string;

  @ApiWord(['created', 'skipped'], 'created')
  action!: 'created' | 'skipped';

  @ApiText('It was missing: 3 months are made ahead.')
  reason!: string;
}

export class IndexOptimizationDto {
  @ApiText('events_pkey_ccnew')
  index!: string;

  @ApiText('events_202611')
  table!: string;

  @ApiWord(
    ['built', 'dropped', 'skipped', 'suggested'],
    'dropped',
    '`suggested`: nothing was done; the reason gives the evidence.',
  )
  action!: 'built' | 'dropped' | 'skipped' | 'suggested';

  @ApiText('Left behind by a REINDEX that was interrupted.')
  reason!: string;

  @ApiInteger(8_192)
  sizeBytes!: number;
}

export class TableMaintenanceDto {
  @ApiText('events_202611')
  table!: string;

  @ApiWord(['done', 'skipped'], 'done')
  action!: 'done' | 'skipped';

  @ApiText('12000 dead rows beside 48000 live ones (due from 650).')
  reason!: string;

  @ApiInteger(48_000)
  liveRows!: number;

  @ApiInteger(12_000)
  deadRowsBefore!: number;

  @ApiInteger(0)
  deadRowsAfter!: number;

  @ApiInteger(210, 'Milliseconds.')
  durationMs!: number;
}

export class ReindexResultDto {
  @ApiText('events_202611_pkey')
  index!: string;

  @ApiText('events_202611')
  table!: string;

  @ApiWord(['done', 'skipped'], 'done')
  action!: 'done' | 'skipped';

  @ApiText('About 74 % of its 12.5 MB are empty (estimated).')
  reason!: string;

  @ApiInteger(13_107_200)
  sizeBytesBefore!: number;

  @ApiInteger(3_407_872)
  sizeBytesAfter!: number;

  @ApiInteger(74, 'Percent, before; an estimate.')
  estimatedBloatPercent!: number;

  @ApiInteger(480, 'Milliseconds.')
  durationMs!: number;
}

export class MaintenanceResultsDto {
  @ApiParts(() => TableMaintenanceDto, 'VACUUM (ANALYZE).')
  vacuumResults!: TableMaintenanceDto[];

  @ApiParts(() => TableMaintenanceDto, 'ANALYZE alone.')
  analyzeResults!: TableMaintenanceDto[];

  @ApiParts(() => ReindexResultDto, 'REINDEX CONCURRENTLY.')
  reindexResults!: ReindexResultDto[];
}

export class ConfigRecommendationDto {
  @ApiText('max_wal_size')
  setting!: string;

  @ApiText('1024MB')
  currentValue!: string;

  @ApiText('2048MB')
  recommendedValue!: string;

  @ApiText('40 of 50 checkpoints were forced by the amount of WAL rather than by time.')
  reason!: string;
}

export class DatabaseOptimizationResultDto {
  @ApiParts(() => PartitionOptimizationDto)
  partitionOptimization!: PartitionOptimizationDto[];

  @ApiParts(() => IndexOptimizationDto)
  indexOptimization!: IndexOptimizationDto[];

  @ApiPart(() => MaintenanceResultsDto)
  maintenanceResults!: MaintenanceResultsDto;

  @ApiParts(() => ConfigRecommendationDto)
  configOptimization!: ConfigRecommendationDto[];

  @ApiInstant()
  timestamp!: string;
}
