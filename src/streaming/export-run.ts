import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { PoolClient, QueryConfig } from 'pg';
import { CopyOut } from '../platform/database/copy-out';
import { BrokenConnection, requestCancel } from '../platform/database/connection-loan';
import { onAbort } from '../platform/runtime/abort';
import { ChunkBuffer } from './chunk-buffer';
import type { ExportCoding } from './compressor';
import type { ExportFormat } from './export-format';
import { type DisconnectReason, ResponseSink } from './response-sink';

export interface ExportSource {
  /** Whole `COPY … TO STDOUT` in the form of the export's format. */
  statement: string;
  /** PostgreSQL's settings for this statement only. */
  settings: Record<string, string>;
  /** Throws a refusal; runs in the statement's snapshot before it. */
  check?: (client: PoolClient) => Promise<void>;
  /** Called with each row of COPY, valid only during the call; returns the part to send. */
  onRow?: (row: Buffer) => Buffer;
}

export interface ExportRequest {
  source: ExportSource;
  format: ExportFormat;
  coding: ExportCoding;
  /** Set only once the response begins: an earlier failure has others. */
  headers: Record<string, string>;
  /** Rows of one write, unless MAX_CHUNK_BYTES comes first. */
  chunkRows: number;
  stallTimeoutMs: number;
  /** Aborts when the reader's token ends: disconnects, or refuses with its reason before the first byte. */
  signal?: AbortSignal | undefined;
}

/** Whatever `chunkRows` says: rows of 256 KiB must not add up to gigabytes. */
const MAX_CHUNK_BYTES = 1024 * 1024;
/** Longest wait of buffered rows, plus one interval. */
const IDLE_FLUSH_MS = 500;
const TICK_MS = 250;
/** Until the first row an export can fail with a proper status; but proxies do not wait for ever. */
const FIRST_ROW_WAIT_MS = 10_000;
/** Statements around the COPY take no time: a server that does not reply has gone. */
const STATEMENT_TIMEOUT_MS = 10_000;

/** One export from PostgreSQL to the client, no faster than the client reads. */
export class ExportRun {
  private readonly chunk = new ChunkBuffer();
  private readonly sink: ResponseSink;
  private readonly copy: CopyOut;
  private readonly startedMs = performance.now();
  private chunkRows = 0;
  private flushedMs = this.startedMs;
  private client: PoolClient | undefined;
  private isOpened = false;
  private snapshot: string | undefined;
  rows = 0;
  /** Why the response ended early, unless the database failed. */
  disconnectReason: DisconnectReason | undefined;

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
      onDisconnect: (reason) => this.abort(reason),
    });
  }

  get bytes(): number {
    return this.sink.bytes;
  }

  /** Rejects when the response is incomplete. */
  async run(client: PoolClient): Promise<void> {
    const ticking = setInterval(() => this.tick(), TICK_MS);
    const removeListener = onAbort(this.request.signal, () => this.endWithToken());
    try {
      if (this.disconnectReason) throw new Error(this.disconnectReason);
      this.client = client;
      this.snapshot = await openSnapshot(client, this.request.source.settings);
      await this.request.source.check?.(client);
      if (this.disconnectReason) throw new Error(this.disconnectReason);
      client.query(this.copy);
      await this.copy.done;
      await client.query(bounded('COMMIT'));
      this.begin();
      this.open();
      this.chunk.append(this.request.format.end(this.rows));
      this.writeChunk();
      await this.sink.end({ 'X-Export-Rows': String(this.rows), 'X-Export-Complete': 'true' });
      if (this.disconnectReason) throw new Error(this.disconnectReason);
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

  /** Once, however late the first row comes. */
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

  /** Sends the headers. From here on a failure can only disconnect. */
  private begin(): void {
    if (this.response.headersSent || this.disconnectReason) return;
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

  /** A response that has not begun stays open for a refusal. */
  private endWithToken(): void {
    if (this.response.headersSent) this.sink.disconnect('token ended');
    else this.abort('token ended');
  }

  private abort(reason: DisconnectReason): void {
    this.disconnectReason = reason;
    this.copy.destroy(new Error(reason));
    if (!this.client) return;
    // Ends the statements around the COPY, too: a server may be silent for ever.
    closeConnection(this.client);
    // A backend that sends rows notices the closed connection; one that sorts does not.
    requestCancel(this.client).catch(() => undefined); // never rejects
  }
}

/** The timeout ends the connection, too. */
function bounded(text: string, values: unknown[] = []): QueryConfig & { query_timeout: number } {
  return { text, values, query_timeout: STATEMENT_TIMEOUT_MS };
}

function closeConnection(client: PoolClient): void {
  (client as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
}

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
