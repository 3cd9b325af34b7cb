import 'reflect-metadata';
import { printSchema } from 'graphql';
import { DATABASE_SHAPES } from '../database-door';
import { graphqlSchema } from '../api/graphql/schema';
import { runGenerator } from './generated-file';

runGenerator({
  name: 'schema.graphql',
  script: 'schema',
  content: 'the GraphQL schema',
  text: () => `${printSchema(graphqlSchema(DATABASE_SHAPES))}\n`,
});
