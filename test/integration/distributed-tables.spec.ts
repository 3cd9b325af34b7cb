import { Client } from 'pg';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

/** Columns of Citus's catalogue that tell how a table is distributed. */
const CATALOGUE = `
  CREATE TABLE pg_dist_partition (logicalrelid regclass, partmethod "char", partkey text, colocationid int, repmodel "char")`;

const start = (method: string) =>
  TestService.start({}, async (url) => {
    const client = new Client({ connectionString: url });
    await client.connect();
    await client.query(CATALOGUE);
    await client.query(`INSERT INTO pg_dist_partition VALUES ('audit_event', $1)`, [method]);
    await client.end();
    return url;
  });

describe('a database of Citus', () => {
  it('with events distributed by row ends the start, with what works instead', async () => {
    await expect(start('h')).rejects.toThrow(
      /audit_event is distributed by row.*a database, or a distributed schema.*undistribute_table\('audit_event'\)/,
    );
  });

  it('with a distributed schema is used', async () => {
    const service = await start('n');
    try {
      expect((await service.post(EVENTS, await tokenOf(), eventWith())).status).toBe(201);
    } finally {
      await service.stop();
    }
  });
});
