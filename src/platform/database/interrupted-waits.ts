import type { ClientBase } from 'pg';

/** The function of PostgreSQL that waits for synchronous standbys; unlike the message, its name is in no language. */
const WAITING_ROUTINE = 'SyncRepWaitForLSN';
/** Connections on which the wait of a commit was ended before a standby had answered. */
const interrupted = new WeakSet<ClientBase>();

/**
 * Notes from now on when the commit of a transaction on `client` does not wait for its synchronous standby any longer
 * (pg_cancel_backend, a cancel request): PostgreSQL then commits all the same, and says so by a warning alone. One
 * listener for the life of the connection, so that a statement costs nothing.
 */
export function watchInterruptedWaits(client: ClientBase): void {
  client.on('notice', ({ routine }) => {
    if (routine === WAITING_ROUTINE) interrupted.add(client);
  });
}

/** Whether the commit that has just been answered on `client` did not wait to its end; asked a second time: false. */
export function takeInterruptedWait(client: ClientBase): boolean {
  return interrupted.delete(client);
}
