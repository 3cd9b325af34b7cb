import { Module } from '@nestjs/common';
import { ConfigModule as NestConfigModule } from '@nestjs/config';
import { CONFIGS } from './environment';

/**
 * Provides all settings: `@Inject(serverConfig.KEY)`. Each application reads the environment, so that each test can
 * have its own.
 * @throws ConfigError for invalid settings.
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
