import { ApiObject, ApiPart, ApiTexts, ApiWord } from '../../validation/dto-properties';

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
