import { Module } from '@nestjs/common';
import { ConfigModule as NestConfigModule } from '@nestjs/config';
import { CONFIGS } from './environment';

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
      load: CONFIGS,
    }),
  ],
})
export class ConfigModule {}
