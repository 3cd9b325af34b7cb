import { Module } from '@nestjs/common';
import { ConfigModule as NestConfigModule } from '@nestjs/config';
import { auditConfig } from './audit.config';
import { authConfig } from './auth.config';
import { cacheConfig } from './cache.config';
import { concurrencyConfig } from './concurrency.config';
import { databaseConfig } from './database.config';
import { graphqlConfig } from './graphql.config';
import { loggingConfig } from './logging.config';
import { monitoringConfig } from './monitoring.config';
import { paginationConfig } from './pagination.config';
import { rateLimitConfig } from './rate-limit.config';
import { redisConfig } from './redis.config';
import { serverConfig } from './server.config';
import { streamingConfig } from './streaming.config';
import { tracingConfig } from './tracing.config';

/**
 * Offers the settings of every concern to the whole application: `@Inject(serverConfig.KEY)`. The environment is read
 * when an application is created, not when this file is imported, so each application of a test can have its own.
 * Creation fails with a ConfigError when a setting is not valid.
 */
@Module({
  imports: [
    NestConfigModule.forRoot({
      isGlobal: true,
      // The files are read by loadEnvironment; nothing comes from a .env of the working directory.
      ignoreEnvFile: true,
      skipProcessEnv: true,
      load: [
        serverConfig,
        databaseConfig,
        redisConfig,
        authConfig,
        cacheConfig,
        paginationConfig,
        streamingConfig,
        concurrencyConfig,
        rateLimitConfig,
        auditConfig,
        graphqlConfig,
        monitoringConfig,
        loggingConfig,
        tracingConfig,
      ],
    }),
  ],
})
export class ConfigModule {}
