import type { PoolClient } from 'pg';
import { connect } from 'node:net';

/** Limit, beyond which the server will not end the statement either (connection-loan.ts). */
const TIMEOUT_MS = 1000;
const CANCEL_REQUEST_CODE = 80877102;

interface Backend {
  host: string;
  port: number;
  processID: number | null;
  secretKey: number | null;
}

/**
 * Cancels the running statement of a connection by the protocol's cancel request, which needs no login, privilege or
 * free connection, and works on replicas. Resolves once the server has sent the signal; never rejects. An idle
 * connection is not affected.
 * @returns false without an answer of the server: the request may arrive later, during another statement.
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
    socket.resume(); // without a reader no end is seen
    socket.write(message);
  });
}
