import { ApiProperty } from '@nestjs/swagger';

export type HealthLevel = 'healthy' | 'warning' | 'critical';
const LEVELS: HealthLevel[] = ['healthy', 'warning', 'critical'];

/** One part of the database and what its status is made of. */
export class ComponentHealthDto {
  @ApiProperty({ type: String, enum: LEVELS, example: 'healthy' })
  status!: HealthLevel;

  @ApiProperty({
    type: 'object',
    additionalProperties: true,
    example: { totalConnections: 8, waitingRequests: 0 },
  })
  details!: Record<string, unknown>;
}

export class DatabaseComponentsDto {
  @ApiProperty({ type: () => ComponentHealthDto })
  connectionPool!: ComponentHealthDto;

  @ApiProperty({ type: () => ComponentHealthDto })
  queryCache!: ComponentHealthDto;

  @ApiProperty({ type: () => ComponentHealthDto })
  partitions!: ComponentHealthDto;

  @ApiProperty({ type: () => ComponentHealthDto })
  performance!: ComponentHealthDto;
}

/** The health of the database: that of its worst part. */
export class DatabaseHealthStatusDto {
  @ApiProperty({ type: String, enum: LEVELS, example: 'healthy' })
  overall!: HealthLevel;

  @ApiProperty({ type: () => DatabaseComponentsDto })
  components!: DatabaseComponentsDto;

  @ApiProperty({ type: [String], example: [] })
  recommendations!: string[];
}
