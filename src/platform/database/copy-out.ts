import type { Connection, Submittable } from 'pg';

/** A row of `COPY … TO STDOUT`, as pg gives it to a submittable. */
interface CopyData {
  chunk: Buffer;
}

interface Settle {
  resolve: (rows: number) => void;
  reject: (error: Error) => void;
}

/**
 * `COPY … TO STDOUT` as a query of pg: calls `onRow` with each row as PostgreSQL wrote it, with its line feed. The
 * bytes are valid only until `onRow` returns, as pg reuses their memory. `done` resolves with the number of rows, and
 * rejects with the error of PostgreSQL or of the connection.
 */
export class CopyOut implements Submittable {
  readonly done: Promise<number>;
  private readonly settle: Settle;
  private connection: Connection | undefined;
  private rows = 0;
  private isOver = false;

  constructor(
    private readonly statement: string,
    private readonly onRow: (row: Buffer) => void,
  ) {
    const settle: Partial<Settle> = {};
    this.done = new Promise((resolve, reject) => Object.assign(settle, { resolve, reject }));
    this.settle = settle as Settle;
    this.done.catch(() => undefined); // its caller awaits it later
  }

  /** Stops reading from PostgreSQL, which then stops writing; rows that were read already still come. */
  pause(): void {
    if (!this.isOver) this.connection?.stream.pause();
  }

  resume(): void {
    this.connection?.stream.resume();
  }

  /** Closes the connection: the server notices as soon as it writes. */
  destroy(error: Error): void {
    this.connection?.stream.destroy();
    this.settle.reject(error);
  }

  submit(connection: Connection): void {
    this.connection = connection;
    (connection as unknown as { query(text: string): void }).query(this.statement);
  }

  handleCopyData({ chunk }: CopyData): void {
    this.rows += 1;
    this.onRow(chunk);
  }

  /** Called by pg; rows are counted as they come. */
  handleCommandComplete(): void {
    return undefined;
  }

  handleReadyForQuery(): void {
    this.end();
    this.settle.resolve(this.rows);
  }

  handleError(error: Error): void {
    this.end();
    this.settle.reject(error);
  }

  /** The next user of the connection expects it to be read. */
  private end(): void {
    this.isOver = true;
    this.connection?.stream.resume();
  }
}
