import type { PoolClient } from 'pg';
import { connect } from 'node:net';

/** A server that is not reached within this time will not end the statement either (connection-loan.ts). */
const TIMEOUT_MS = 1000;
const CANCEL_REQUEST_CODE = 80877102;

/** Fields of pg's connection that its type declarations leave out. */
interface Backend {
  host: string;
  port: number;
  processID: number | null;
  secretKey: number | null;
}

/**
 * Asks PostgreSQL to cancel what this connection runs, by the protocol's cancel request: it needs no login, no
 * privilege and no free connection, and reaches a replica as well. Resolves when the server has sent the signal; never
 * rejects. A connection that runs nothing is not affected.
 * @returns false when the server did not answer: the request may arrive later, and hit another statement.
 */
export function requestCancel(client: PoolClient): Promise<boolean> {
  const { host, port, processID, secretKey } = client as unknown as Backend;
  if (processID === null || secretKey === null) return Promise.resolve(true);
  const message = Buffer.alloc(16);
  message.writeInt32BE(16, 0);
  message.writeInt32BE(CANCEL_REQUEST_CODE, 4);
  message.writeInt32BE(processID, 8);
  message.writeInt32BE(secretKey, 12);
  return new Promise((resolve) => {
    const socket = host.startsWith('/') ? connect(`${host}/.s.PGSQL.${port}`) : connect(port, host);
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy());
    socket.on('error', () => undefined); // 'close' follows
    let isAnswered = false;
    socket.on('end', () => (isAnswered = true));
    socket.on('close', () => resolve(isAnswered));
    socket.resume(); // without a reader the end is not seen
    socket.write(message);
  });
}
