import type { ClientBase } from 'pg';

/** The function of PostgreSQL that waits for synchronous standbys; unlike the message, its name is not translated. */
const WAITING_ROUTINE = 'SyncRepWaitForLSN';
/** Connections on which the wait of a commit ended before a standby had answered. */
const interrupted = new WeakSet<ClientBase>();

/**
 * Records when a commit on `client` no longer waits for its synchronous standby (pg_cancel_backend, a cancel request):
 * PostgreSQL then commits with a warning alone. One listener for the life of the connection, so that statements cost
 * nothing.
 */
export function watchInterruptedWaits(client: ClientBase): void {
  client.on('notice', ({ routine }) => {
    if (routine === WAITING_ROUTINE) interrupted.add(client);
  });
}

/** Whether the last commit on `client` did not wait to its end; resets that. */
export function takeInterruptedWait(client: ClientBase): boolean {
  return interrupted.delete(client);
}
