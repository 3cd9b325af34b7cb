import { ApiProperty } from '@nestjs/swagger';

export class ConnectionPoolDto {
  @ApiProperty({
    type: 'integer',
    example: 8,
    description: 'Open now, by the replica that answers.',
  })
  totalConnections!: number;

  @ApiProperty({ type: 'integer', example: 3, description: 'Lent out now.' })
  activeConnections!: number;

  @ApiProperty({ type: 'integer', example: 0, description: 'Waiting for a connection now.' })
  waitingRequests!: number;

  @ApiProperty({
    type: Number,
    nullable: true,
    example: 0.12,
    description: 'Milliseconds until a connection was lent, in the last five minutes.',
  })
  averageAcquisitionTime!: number | null;

  @ApiProperty({
    type: Number,
    nullable: true,
    example: 100,
    description: 'Percent of those who asked that got one, in the last five minutes.',
  })
  successRate!: number | null;
}

/** The answers that the replica keeps in its memory, in front of the database. */
export class QueryCacheDto {
  @ApiProperty({
    type: Number,
    nullable: true,
    example: 93.75,
    description: 'Hits in percent of requests that could be answered so; null without requests.',
  })
  hitRatio!: number | null;

  @ApiProperty({ type: Number, nullable: true, example: 12.3, description: 'MiB kept.' })
  totalSizeMB!: number | null;

  @ApiProperty({ type: 'integer', nullable: true, example: 0, description: 'Pushed out for room.' })
  evictions!: number | null;
}

export class PartitionFiguresDto {
  @ApiProperty({ type: 'integer', example: 84 })
  totalPartitions!: number;

  @ApiProperty({ type: Number, example: 3.27, description: 'GiB, with indexes.' })
  totalSizeGB!: number;

  @ApiProperty({ type: [String], example: [] })
  recommendations!: string[];
}

export class QueryPerformanceDto {
  @ApiProperty({
    type: 'integer',
    example: 0,
    description:
      'Statements of this service slower than SLOW_QUERY_THRESHOLD_MS: different ones, on average, with ' +
      'pg_stat_statements; without it those that run right now. The suggestions say which.',
  })
  slowQueries!: number;

  @ApiProperty({
    type: 'integer',
    example: 0,
    description:
      'Indexes that no query has used since statistics are collected, all partitions of a table together. Those that hold a constraint do not count.',
  })
  unusedIndexes!: number;

  @ApiProperty({
    type: Number,
    nullable: true,
    example: 99.4,
    description:
      'Percent of pages that PostgreSQL found in its own memory; null when it read none.',
  })
  cacheHitRatio!: number | null;

  @ApiProperty({
    type: [String],
    example: ['Statements are not recorded: the extension pg_stat_statements is not installed.'],
    description: 'What could be better, with the evidence, and what cannot be known and why.',
  })
  suggestions!: string[];
}

/** How the database does. */
export class DatabasePerformanceReportDto {
  @ApiProperty({ type: String, format: 'date-time', example: '2026-11-23T10:30:00.123Z' })
  timestamp!: string;

  @ApiProperty({ type: () => ConnectionPoolDto })
  connectionPool!: ConnectionPoolDto;

  @ApiProperty({ type: () => QueryCacheDto })
  queryCache!: QueryCacheDto;

  @ApiProperty({ type: () => PartitionFiguresDto })
  partitions!: PartitionFiguresDto;

  @ApiProperty({ type: () => QueryPerformanceDto })
  performance!: QueryPerformanceDto;
}
