import type { Client } from 'pg';

/** Lets this connection change and delete events, as a loss of commits or a retention within a month would. */
export async function allowEventChanges(client: Client): Promise<void> {
  await client.query(`SET audit_server.change_events = 'on'`);
}
