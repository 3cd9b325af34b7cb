import { registerAs } from '@nestjs/config';
import { loadEnvironment } from './load-environment';
import { EnvVariables, readEnv } from './read-env';
import { ChoiceVariable, IntegerVariable } from './variable.decorators';

/** How audit events are written in bulk, partitioned and kept. */
export class AuditEnv extends EnvVariables {
  /** Most events in one transaction. */
  @IntegerVariable(1, 100_000)
  readonly BULK_MAX_EVENTS!: number;

  /** Span of time of one partition. */
  @ChoiceVariable(['monthly'])
  readonly PARTITION_INTERVAL!: 'monthly';

  /** Partitions made ahead of the current one. */
  @IntegerVariable(0, 120)
  readonly PARTITION_PRECREATE!: number;

  /** Days that events are kept; 0 for ever. */
  @IntegerVariable(0, 36_500)
  readonly RETENTION_DAYS!: number;
}

export interface AuditConfig {
  bulkMaxEvents: number;
  partitionInterval: 'monthly';
  /** Partitions made ahead of the current one. */
  partitionPrecreate: number;
  /** 0 means for ever. */
  retentionDays: number;
}

/** Settings of the audit store. Throws a ConfigError. */
export const auditConfig = registerAs('audit', (environment = loadEnvironment()): AuditConfig => {
  const env = readEnv(AuditEnv, environment);
  return {
    bulkMaxEvents: env.BULK_MAX_EVENTS,
    partitionInterval: env.PARTITION_INTERVAL,
    partitionPrecreate: env.PARTITION_PRECREATE,
    retentionDays: env.RETENTION_DAYS,
  };
});
