import { Module } from '@nestjs/common';
import { ConfigModule as NestConfigModule } from '@nestjs/config';
import { CONFIGS } from './settings';
import { ConfigError, loadEnvironment, type Variables, type Violation } from './load-environment';

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

function violationsOf(step: () => unknown): readonly Violation[] {
  try {
    step();
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.violations;
    throw error;
  }
}

/**
 * Validates every variable without side effects. Returns probable typos, one line each.
 * @throws ConfigError with all faults.
 */
export function checkConfiguration(processEnv: Variables = process.env): { warnings: string[] } {
  const ofProfile = violationsOf(() => loadEnvironment(processEnv));
  // Checked in the development profile then: a bad NODE_ENV must not hide the other faults.
  const isUsable = ofProfile.length === 0;
  const environment = loadEnvironment(isUsable ? processEnv : { ...processEnv, NODE_ENV: '' });
  const violations = CONFIGS.flatMap((config) => violationsOf(() => config.read(environment)));
  const warnings = environment.findTypos();
  if (isUsable && violations.length === 0) return { warnings };
  throw new ConfigError([...ofProfile, ...violations], warnings);
}

/** First step of a start: prints typos and faults to stderr, one line each, and ends with status 1 on a fault. */
export function assertConfiguration(): void {
  try {
    warn(checkConfiguration().warnings);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`The configuration is not valid:\n${error.message}\n`);
    warn(error.warnings);
    process.exit(1);
  }
}

function warn(warnings: readonly string[]): void {
  for (const warning of warnings) process.stderr.write(`Warning: ${warning}\n`);
}
