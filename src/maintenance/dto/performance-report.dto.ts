import {
  ApiInstant,
  ApiInteger,
  ApiNumber,
  ApiPart,
  ApiTexts,
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

export class DatabasePerformanceReportDto {
  @ApiInstant()
  timestamp!: string;

  @ApiPart(() => ConnectionPoolDto)
  connectionPool!: ConnectionPoolDto;

  @ApiPart(() => QueryCacheDto)
  queryCache!: QueryCacheDto;

  @ApiPart(() => PartitionFiguresDto)
  partitions!: PartitionFiguresDto;

  @ApiPart(() => QueryPerformanceDto)
  performance!: QueryPerformanceDto;
}
