import type { ClientBase, Connection } from 'pg';

/** Group of statements, of which a connection keeps `max` prepared. */
export interface StatementGroup {
  readonly name: string;
  readonly max: number;
}

interface NamedStatement {
  name: string;
  group?: StatementGroup;
}

interface PreparingConnection extends Pick<Connection, 'close'> {
  /** Texts of the prepared statements by name. */
  parsedStatements: Record<string, string | undefined>;
}

/**
 * Limits the prepared statements of a connection. PostgreSQL keeps a named statement with its plan until the connection
 * ends: 100 kB for a plan of one partition, and 13 kB for each partition in a plan of all (PostgreSQL 18). A full
 * `group` closes its least recently used statement. A statement without a group stays: the code has a fixed number.
 *
 * The protocol's Close shares the Sync of the new statement: it costs no round trip, and its failure is an error of that
 * statement. DEALLOCATE would find nothing behind PgBouncer, which renames statements on the server.
 */
export function boundStatementNames(client: ClientBase): void {
  const plain = client as unknown as {
    connection: PreparingConnection;
    query: (statement: unknown, ...rest: unknown[]) => unknown;
  };
  const query = plain.query.bind(client);
  const groups = new Map<string, NameGroup>();
  plain.query = (statement, ...rest) => {
    if (!isNamed(statement) || !statement.group) return query(statement, ...rest);
    const { name, group } = statement;
    let names = groups.get(group.name);
    if (!names) groups.set(group.name, (names = new NameGroup(plain.connection, group.max)));
    names.begin(name);
    const result = query(statement, ...rest);
    const end = (): void => names.end(name);
    if (result instanceof Promise) result.then(end, end);
    else end();
    return result;
  };
}

class NameGroup {
  /** Number of unanswered executions by name of the statement; the least recently used is first. */
  private readonly unanswered = new Map<string, number>();

  constructor(
    private readonly connection: PreparingConnection,
    private readonly max: number,
  ) {}

  begin(name: string): void {
    const count = this.unanswered.get(name);
    if (count === undefined) this.closeOldest();
    else this.unanswered.delete(name);
    this.unanswered.set(name, (count ?? 0) + 1);
  }

  end(name: string): void {
    const count = this.unanswered.get(name) ?? 1;
    this.unanswered.set(name, count - 1);
  }

  /** Closes the least recently used statement that is answered: an unanswered one may not even be sent. */
  private closeOldest(): void {
    for (const [name, count] of this.unanswered) {
      if (this.unanswered.size < this.max) return;
      if (count > 0) continue;
      this.unanswered.delete(name);
      delete this.connection.parsedStatements[name];
      this.connection.close({ type: 'S', name }, false);
    }
  }
}

/** Tells whether a query is a plain statement: COPY and cursors submit themselves, and must not be copied. */
function isNamed(statement: unknown): statement is NamedStatement {
  return (
    typeof statement === 'object' &&
    statement !== null &&
    'name' in statement &&
    typeof statement.name === 'string' &&
    !('submit' in statement)
  );
}

/** Removes the names of statements, for poolers that do not support prepared statements. */
export function dropStatementNames(client: ClientBase): void {
  const plain = client as { query: (statement: unknown, ...rest: unknown[]) => unknown };
  const query = plain.query.bind(client);
  plain.query = (statement, ...rest) =>
    query(isNamed(statement) ? { ...statement, name: undefined } : statement, ...rest);
}
