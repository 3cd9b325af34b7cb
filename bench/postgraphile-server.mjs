// A reference for pages: PostGraphile over the schema `bench`, as it is recommended for production. No token.
import { createServer } from 'node:http';

const { postgraphile } = (await import(process.env.POSTGRAPHILE)).default;
const listener = postgraphile(process.env.DATABASE_URL, 'bench', {
  dynamicJson: true,
  disableQueryLog: true,
  graphiql: false,
  enableQueryBatching: false,
});
createServer(listener).listen(Number(process.env.PORT), '127.0.0.1', () => console.log('ready'));
