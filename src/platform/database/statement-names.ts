import type { ClientBase, Connection } from 'pg';

/** Named statements that replace each other: a connection keeps `max` of one group. */
export interface StatementGroup {
  readonly name: string;
  readonly max: number;
}

/** A statement that PostgreSQL prepares, with its group. */
interface NamedStatement {
  name: string;
  group?: StatementGroup;
}

/** A connection of pg, with fields that its types leave out. */
interface PreparingConnection extends Pick<Connection, 'close'> {
  /** By name, the text of each statement that PostgreSQL has parsed. */
  parsedStatements: Record<string, string | undefined>;
}

/**
 * Bounds the prepared statements of a connection. PostgreSQL keeps a named statement with its plan until the connection
 * ends: 100 kB for a plan of one partition, and 13 kB for each partition in a plan of all of them (PostgreSQL 18). A
 * full `group` closes its least recently used statement; one without a group stays, as its name stands in the code.
 *
 * The protocol's Close shares the Sync of the new statement: it costs no round trip, and its failure is the failure of
 * that statement. DEALLOCATE would find nothing behind PgBouncer, which renames statements on the server.
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

/** Names of one group in one connection. */
class NameGroup {
  /** Statements under way by name, least recently used first. */
  private readonly underWay = new Map<string, number>();

  constructor(
    private readonly connection: PreparingConnection,
    private readonly max: number,
  ) {}

  /** Notes the use of a name, and closes others when they are too many with it. */
  begin(name: string): void {
    const count = this.underWay.get(name);
    if (count === undefined) this.closeOldest();
    else this.underWay.delete(name);
    this.underWay.set(name, (count ?? 0) + 1);
  }

  end(name: string): void {
    const count = this.underWay.get(name) ?? 1;
    this.underWay.set(name, count - 1);
  }

  /**
   * Closes names until one more fits. A statement that is not answered yet is closed later: it may not even be sent.
   */
  private closeOldest(): void {
    for (const [name, count] of this.underWay) {
      if (this.underWay.size < this.max) return;
      if (count > 0) continue;
      this.underWay.delete(name);
      delete this.connection.parsedStatements[name];
      this.connection.close({ type: 'S', name }, false);
    }
  }
}

/** COPY and cursors are objects that submit themselves; they have no name, and must not be copied. */
function isNamed(statement: unknown): statement is NamedStatement {
  return (
    typeof statement === 'object' &&
    statement !== null &&
    'name' in statement &&
    typeof statement.name === 'string' &&
    !('submit' in statement)
  );
}

/** Sends every statement of a connection without its name, for poolers that do not know prepared statements. */
export function dropStatementNames(client: ClientBase): void {
  const plain = client as { query: (statement: unknown, ...rest: unknown[]) => unknown };
  const query = plain.query.bind(client);
  plain.query = (statement, ...rest) =>
    query(isNamed(statement) ? { ...statement, name: undefined } : statement, ...rest);
}
