import { registerAs } from '@nestjs/config';
import { loadEnvironment } from './load-environment';
import { EnvVariables, readEnv } from './read-env';
import { BooleanVariable } from './variable.decorators';

/** The GraphQL door. */
export class GraphqlEnv extends EnvVariables {
  /** Whether it tells its schema to those who ask. */
  @BooleanVariable()
  readonly GRAPHQL_INTROSPECTION!: boolean;
}

export interface GraphqlConfig {
  introspection: boolean;
}

/** Settings of the GraphQL door. Throws a ConfigError. */
export const graphqlConfig = registerAs(
  'graphql',
  (environment = loadEnvironment()): GraphqlConfig => ({
    introspection: readEnv(GraphqlEnv, environment).GRAPHQL_INTROSPECTION,
  }),
);
