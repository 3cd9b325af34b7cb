import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { BulkClient, ImportStopped } from './bulk-client';

describe('a service that forbids', () => {
  let server: Server;
  let client: BulkClient;
  let forbidden: number[] = [];

  beforeAll(async () => {
    server = createServer((request, response) => {
      request.resume();
      request.on('end', () => {
        const message = 'is not an organization of this token';
        const errors = forbidden.map((i) => ({ path: `events[${i}].organizationId`, message }));
        response.writeHead(403, { 'Content-Type': 'application/problem+json' });
        response.end(JSON.stringify({ status: 403, code: 'FORBIDDEN', detail: 'No.', errors }));
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
    expect(await client.post('{}', 3, 'key')).toEqual({
      kind: 'faulty',
      faults: new Map([[1, ['organizationId is not an organization of this token']]]),
    });
  });

  it.each([[[0, 1, 2]], [[]]])('all of them (%j) ends the import', async (indexes) => {
    forbidden = indexes;
    await expect(client.post('{}', 3, 'key')).rejects.toThrow(ImportStopped);
  });
});
