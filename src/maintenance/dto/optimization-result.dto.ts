import {
  ApiInstant,
  ApiInteger,
  ApiPart,
  ApiParts,
  ApiText,
  ApiWord,
} from '../../validation/dto-properties';

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
    ['dropped', 'skipped', 'suggested'],
    'dropped',
    '`suggested`: nothing was done; the reason gives the evidence.',
  )
  action!: 'dropped' | 'skipped' | 'suggested';

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
