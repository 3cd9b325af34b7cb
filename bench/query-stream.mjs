// What an export without COPY would be: rows by cursor, made text by JSON.stringify, written with back-pressure.
import { pipeline } from 'node:stream/promises';
import { Transform } from 'node:stream';
import pg from 'pg';
import QueryStream from 'pg-query-stream';

const client = new pg.Client({ connectionString: process.env.DATABASE_URL });
await client.connect();
const rows = client.query(
  new QueryStream(
    `SELECT * FROM audit_event WHERE organization_id = $1 ORDER BY timestamp DESC, id DESC`,
    [process.env.ORGANIZATION],
    { batchSize: 1000 },
  ),
);
const lines = new Transform({
  writableObjectMode: true,
  transform: (row, _, done) => done(null, `${JSON.stringify(row)}\n`),
});
await pipeline(rows, lines, process.stdout);
await client.end();
