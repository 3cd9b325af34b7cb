import type { Connection, Submittable } from 'pg';

interface CopyData {
  chunk: Buffer;
}

interface Settle {
  resolve: (rows: number) => void;
  reject: (error: Error) => void;
}

/**
 * Runs `COPY … TO STDOUT` as a pg query. `onRow` gets each row as PostgreSQL wrote it, with its line feed, valid only
 * until it returns, as pg reuses the memory. `done` resolves with the number of rows, or rejects with the error of
 * PostgreSQL or of the connection.
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
    this.done.catch(() => undefined); // awaited later
  }

  /** Stops reading, and thereby PostgreSQL's writing; rows that are already read still arrive. */
  pause(): void {
    if (!this.isOver) this.connection?.stream.pause();
  }

  resume(): void {
    this.connection?.stream.resume();
  }

  /** Closes the connection; the server notices that at its next write. */
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

  /** Does nothing, as rows are counted one by one. */
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

  /** Resumes reading, for the next user of the connection. */
  private end(): void {
    this.isOver = true;
    this.connection?.stream.resume();
  }
}
