import type { ClientBase } from 'pg';

/** Function of PostgreSQL that waits for synchronous standbys, untranslated unlike the message. */
const WAITING_ROUTINE = 'SyncRepWaitForLSN';
const interrupted = new WeakSet<ClientBase>();

/**
 * Records when a commit stops waiting for its synchronous standby (pg_cancel_backend, a cancel request), of which
 * PostgreSQL only warns. One listener per connection costs statements nothing.
 */
export function watchInterruptedWaits(client: ClientBase): void {
  client.on('notice', ({ routine }) => {
    if (routine === WAITING_ROUTINE) interrupted.add(client);
  });
}

/** Tells whether a commit on `client` stopped waiting; resets that. */
export function takeInterruptedWait(client: ClientBase): boolean {
  return interrupted.delete(client);
}
