import type { Connection, Submittable } from 'pg';

/** A row of `COPY … TO STDOUT`, as pg hands it to a query of its own making. */
interface CopyData {
  chunk: Buffer;
}

interface Settle {
  resolve: (rows: number) => void;
  reject: (error: Error) => void;
}

/**
 * `COPY … TO STDOUT` as a query of pg: hands each row on as PostgreSQL wrote it, with the line feed at its end. The bytes
 * of a row are only good until `onRow` returns, as pg reads the next ones into the same memory. `done` resolves with
 * the number of rows, and rejects with the error of PostgreSQL or of the connection.
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
    this.done.catch(() => undefined); // whoever awaits it hears of it
  }

  /** Stops reading from PostgreSQL, which then stops writing; what has been read already still comes. */
  pause(): void {
    if (!this.isOver) this.connection?.stream.pause();
  }

  resume(): void {
    this.connection?.stream.resume();
  }

  /** Closes the connection under it: the server notices as soon as it writes. */
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

  /** Part of what pg calls: nothing is left to do, as rows are counted as they come. */
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

  /** The connection is somebody else's from here on, who expects it to be read. */
  private end(): void {
    this.isOver = true;
    this.connection?.stream.resume();
  }
}
