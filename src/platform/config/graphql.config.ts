import { defineConfig } from './define-config';
import { boolean } from './variables';

/** Settings of the GraphQL API. */
export const graphqlConfig = defineConfig('graphql', {
  introspection: boolean('GRAPHQL_INTROSPECTION'),
});
