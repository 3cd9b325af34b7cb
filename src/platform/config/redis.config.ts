import { registerAs } from '@nestjs/config';
import { loadEnvironment } from './load-environment';
import { EnvVariables, readEnv } from './read-env';
import { UrlVariable } from './variable.decorators';

/** Where Redis is. */
export class RedisEnv extends EnvVariables {
  /** Connection URL; unset means that only the in-process cache is used. */
  @UrlVariable(['redis', 'rediss'])
  readonly REDIS_URL?: string;
}

export interface RedisConfig {
  /** Connection URL; undefined means no Redis. */
  url: string | undefined;
}

/** Settings of the Redis connection. Throws a ConfigError. */
export const redisConfig = registerAs('redis', (environment = loadEnvironment()): RedisConfig => {
  return { url: readEnv(RedisEnv, environment).REDIS_URL };
});
