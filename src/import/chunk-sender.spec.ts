import { once } from 'node:events';
import { findFreePort } from '../platform/database/embedded/embedded-postgres';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { BulkClient, ImportStopped } from './chunk-sender';

describe('a service that forbids', () => {
  let server: Server;
  let client: BulkClient;
  let forbidden: number[] = [];

  beforeAll(async () => {
    server = createServer((request, response) => {
      request.resume();
      request.on('end', () => {
        const errors = [
          { path: 'organizationId', message: 'is not an organization of this token' },
        ];
        const receipts = [0, 1, 2].map((index) => ({
          line: index + 1,
          position: index + 1,
          status: 'rejected',
          ...(forbidden.includes(index)
            ? { code: 'FORBIDDEN', errors }
            : { code: 'TRANSACTION_REJECTED', errors: [] }),
        }));
        response.end([...receipts, { summary: {} }].map((one) => JSON.stringify(one)).join('\n'));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    client = new BulkClient(`http://127.0.0.1:${port}`, 'token');
  });

  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  it('some lines has those lines refused', async () => {
    forbidden = [1];
    expect(await client.post('{}', 3)).toEqual({
      kind: 'faulty',
      faults: new Map([[1, ['organizationId is not an organization of this token']]]),
      settled: new Set(),
      created: 0,
      duplicates: 0,
    });
  });

  it('all of them ends the import', async () => {
    forbidden = [0, 1, 2];
    await expect(client.post('{}', 3)).rejects.toThrow(ImportStopped);
  });

  it('names an address where nothing listens, and what to do about it', async () => {
    const port = await findFreePort();
    const outcome = await new BulkClient(`http://localhost:${port}`, 'a').post('{}\n', 1);
    expect(outcome).toMatchObject({ kind: 'later' });
    const { reason } = outcome as { reason: string };
    expect(reason).toContain(`nothing listens at http://localhost:${port} (ECONNREFUSED)`);
    expect(reason).toContain('--url');
  });

  it('sends again what breaks off before the summary, or fails for a passing reason', async () => {
    const whole = '{"line":1,"id":"a","sequence":"1","status":"created"}\n';
    const server = createServer((request, response) => {
      request.resume();
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      response.write(whole, () => response.destroy());
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const outcome = await new BulkClient(`http://127.0.0.1:${port}`, 'a').post('{}\n{}\n', 2);
    expect(outcome).toMatchObject({ kind: 'later' });
    server.close();
  });
});
