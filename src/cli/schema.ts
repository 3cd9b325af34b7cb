import 'reflect-metadata';
import { printSchema } from 'graphql';
import { graphqlSchema } from '../api/graphql/schema';
import { runGenerator } from './generated-file';

runGenerator({
  name: 'schema.graphql',
  script: 'schema',
  content: 'the GraphQL schema',
  text: () => `${printSchema(graphqlSchema())}\n`,
});
