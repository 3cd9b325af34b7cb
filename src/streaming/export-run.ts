import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { PoolClient, QueryConfig } from 'pg';
import { CopyOut } from '../platform/database/copy-out';
import { BrokenConnection } from '../platform/database/connection-loan';
import { onAbort } from '../platform/runtime/abort';
import { requestCancel } from '../platform/database/cancel-request';
import { ChunkBuffer } from './chunk-buffer';
import type { ExportCoding } from './compressor';
import type { ExportFormat } from './export-format';
import { ResponseSink, type CutReason } from './response-sink';

/** Where the rows of an export come from. */
export interface ExportSource {
  /** A whole `COPY … TO STDOUT` in the form that the export's format wants. */
  statement: string;
  /** Settings of PostgreSQL for this statement alone. */
  settings: Record<string, string>;
  /** Looks, in the snapshot of the statement and before it, whether it may run; what it throws is the answer. */
  check?: (client: PoolClient) => Promise<void>;
  /**
   * Sees each row, as PostgreSQL wrote it, when it is read, and returns what of it goes out. The bytes are good only
   * during the call.
   */
  onRow?: (row: Buffer) => Buffer;
}

export interface ExportRequest {
  source: ExportSource;
  format: ExportFormat;
  coding: ExportCoding;
  /** The head of the answer, set only once it begins: what fails before is answered with other headers. */
  headers: Record<string, string>;
  /** Rows that are written at once, as long as they are not too large together. */
  chunkRows: number;
  stallTimeoutMs: number;
  /** Aborts when its reader may have no more of it: it is cut, or refused with the signal's reason before it has begun. */
  signal?: AbortSignal | undefined;
}

/** So much is written at once whatever `chunkRows` says: rows of 256 KiB must not add up to gigabytes. */
const MAX_CHUNK_BYTES = 1024 * 1024;
/** Rows that come slowly are held back for no longer than this, and as long as lies between two looks. */
const IDLE_FLUSH_MS = 500;
const TICK_MS = 250;
/** Until the first rows are there an export can still fail with a proper status; proxies do not wait for ever, though. */
const FIRST_ROW_WAIT_MS = 10_000;
/** What stands before and behind the COPY takes no time: a server that does not answer it is not there. */
const ANSWER_TIMEOUT_MS = 10_000;

/** One export on its way from PostgreSQL to the client: rows into chunks, no faster than the client takes them. */
export class ExportRun {
  private readonly chunk = new ChunkBuffer();
  private readonly sink: ResponseSink;
  private readonly copy: CopyOut;
  private readonly startedMs = performance.now();
  private chunkRows = 0;
  private flushedMs = this.startedMs;
  private client: PoolClient | undefined;
  private isOpened = false;
  /** When the state of the database was taken that the export shows, and PostgreSQL's name for it. */
  private snapshot: string | undefined;
  /** Rows read so far. */
  rows = 0;
  /** Why the client has not all of it, if it is the client's doing. */
  cutReason: CutReason | undefined;

  constructor(
    private readonly request: ExportRequest,
    private readonly response: ServerResponse,
  ) {
    const { source, coding, stallTimeoutMs } = request;
    this.copy = new CopyOut(source.statement, (row) => this.take(row));
    this.sink = new ResponseSink(response, {
      coding,
      stallTimeoutMs,
      onDrain: () => this.copy.resume(),
      onCut: (reason) => this.abort(reason),
    });
  }

  /** Bytes that went out so far. */
  get bytes(): number {
    return this.sink.bytes;
  }

  /** Runs it on a connection of its own; rejects when the answer is not whole. */
  async run(client: PoolClient): Promise<void> {
    const ticking = setInterval(() => this.tick(), TICK_MS);
    const removeListener = onAbort(this.request.signal, () => this.endWithToken());
    try {
      if (this.cutReason) throw new Error(this.cutReason);
      this.client = client;
      this.snapshot = await openSnapshot(client, this.request.source.settings);
      await this.request.source.check?.(client);
      if (this.cutReason) throw new Error(this.cutReason);
      client.query(this.copy);
      await this.copy.done;
      await client.query(bounded('COMMIT'));
      this.begin();
      this.open();
      this.chunk.append(this.request.format.end(this.rows));
      this.writeChunk();
      await this.sink.end({ 'X-Export-Rows': String(this.rows), 'X-Export-Complete': 'true' });
      if (this.cutReason) throw new Error(this.cutReason);
    } catch (error) {
      if (this.response.headersSent) this.sink.destroy();
      else this.sink.release();
      throw new BrokenConnection(error);
    } finally {
      clearInterval(ticking);
      removeListener();
    }
  }

  private take(row: Buffer): void {
    const { format, chunkRows, source } = this.request;
    this.open();
    format.append(this.chunk, source.onRow?.(row) ?? row, this.rows);
    this.rows += 1;
    this.chunkRows += 1;
    if (this.chunkRows >= chunkRows || this.chunk.length >= MAX_CHUNK_BYTES) this.writeChunk();
  }

  /** Puts what stands before the first row in its place, once, however late that row comes. */
  private open(): void {
    if (this.isOpened) return;
    this.isOpened = true;
    this.chunk.append(this.request.format.begin);
  }

  private writeChunk(): void {
    if (this.chunk.length === 0) return;
    this.begin();
    this.chunkRows = 0;
    this.flushedMs = performance.now();
    if (!this.sink.write(this.chunk.take())) this.copy.pause();
  }

  /** Sends the head of the answer, unless that is done. From here on a failure can only cut. */
  private begin(): void {
    if (this.response.headersSent || this.cutReason) return;
    for (const [name, value] of Object.entries(this.request.headers)) {
      this.response.setHeader(name, value);
    }
    if (this.snapshot) this.response.setHeader('X-Export-Snapshot', this.snapshot);
    this.response.writeHead(200);
    this.response.flushHeaders();
  }

  private tick(): void {
    const nowMs = performance.now();
    if (nowMs - this.startedMs >= FIRST_ROW_WAIT_MS) {
      this.begin();
      this.open();
    }
    if (nowMs - this.flushedMs < IDLE_FLUSH_MS) return;
    this.writeChunk();
    this.sink.flush();
  }

  /** An answer that has not begun is left to be a refusal. */
  private endWithToken(): void {
    if (this.response.headersSent) this.sink.cut('token ended');
    else this.abort('token ended');
  }

  private abort(reason: CutReason): void {
    this.cutReason = reason;
    this.copy.destroy(new Error(reason));
    if (!this.client) return;
    // Whatever is asked on it, before the COPY and behind it, is over with it: a server may be silent for ever.
    closeConnection(this.client);
    // A backend that writes notices that nobody listens; one that sorts does not.
    requestCancel(this.client).catch(() => undefined); // never rejects
  }
}

/** A statement that is given up, with its connection, when it is not answered soon. */
function bounded(text: string, values: unknown[] = []): QueryConfig & { query_timeout: number } {
  return { text, values, query_timeout: ANSWER_TIMEOUT_MS };
}

/** Ends a connection without a word, and with it everything that waits for an answer on it. */
function closeConnection(client: PoolClient): void {
  (client as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
}

/** Begins a read-only transaction that sees one state of the database throughout. */
async function openSnapshot(client: PoolClient, settings: Record<string, string>): Promise<string> {
  await client.query(bounded('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY'));
  const { rows } = await client.query<{ name: string }>(
    bounded(
      `SELECT to_char(clock_timestamp(), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || ' ' || pg_current_snapshot() AS name,
       (SELECT count(set_config(s.name, s.value, true)) FROM unnest($1::text[], $2::text[]) AS s (name, value))`,
      [Object.keys(settings), Object.values(settings)],
    ),
  );
  const [snapshot] = rows;
  if (!snapshot) throw new Error('PostgreSQL did not describe its snapshot');
  return snapshot.name;
}
