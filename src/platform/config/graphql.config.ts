import { defineConfig } from './define-config';
import { boolean } from './variables';

/** The GraphQL API. */
export const graphqlConfig = defineConfig('graphql', {
  /** Whether introspection queries are answered. */
  introspection: boolean('GRAPHQL_INTROSPECTION'),
});
