import { Client } from 'pg';

/** Another connection to the database of a service: it can stand in the way of statements, and see what runs. */
export class Blocker {
  private constructor(
    private readonly client: Client,
    /** A transaction sees what others do as it was when it first looked. */
    private readonly observer: Client,
  ) {}

  static async connect(url: string): Promise<Blocker> {
    const clients = [url, url].map((connectionString) => new Client({ connectionString }));
    await Promise.all(clients.map((client) => client.connect()));
    return new Blocker(...(clients as [Client, Client]));
  }

  /** From now on nobody reads or writes events. */
  async blockReads(): Promise<void> {
    await this.client.query('BEGIN; LOCK TABLE audit_event IN ACCESS EXCLUSIVE MODE');
  }

  /** From now on nobody writes events. */
  async blockWrites(): Promise<void> {
    await this.client.query('BEGIN; LOCK TABLE audit_event IN SHARE MODE');
  }

  async unblock(): Promise<void> {
    await this.client.query('ROLLBACK');
  }

  /** What the service's connections do right now, other than nothing. */
  async busy(): Promise<{ state: string; query: string }[]> {
    const { rows } = await this.observer.query<{ state: string; query: string }>(
      `SELECT state, query FROM pg_stat_activity
       WHERE datname = current_database() AND application_name IN ('audit-server', 'audit-server versions') AND state <> 'idle'`,
    );
    return rows;
  }

  async events(): Promise<number> {
    const { rows } = await this.client.query<{ count: number }>(
      'SELECT count(*)::integer AS count FROM audit_event',
    );
    return rows[0]?.count ?? 0;
  }

  async close(): Promise<void> {
    await Promise.all([this.client.end(), this.observer.end()]);
  }
}
