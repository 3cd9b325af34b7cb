import { Module } from '@nestjs/common';
import { ConfigModule as NestConfigModule } from '@nestjs/config';
import { CONFIGS } from './environment';

/**
 * The settings of every concern: `@Inject(serverConfig.KEY)`. The environment is read when an application is created,
 * so that each application of a test can have its own; a setting that is not valid fails with a ConfigError.
 */
@Module({
  imports: [
    NestConfigModule.forRoot({
      isGlobal: true,
      ignoreEnvFile: true,
      skipProcessEnv: true,
      load: CONFIGS,
    }),
  ],
})
export class ConfigModule {}
