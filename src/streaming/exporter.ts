import { type BeforeApplicationShutdown, Inject, Injectable, Logger } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { PoolClient, QueryConfig } from 'pg';
import { databaseConfig, streamingConfig } from '../platform/config/settings';
import { BrokenConnection, requestCancel } from '../platform/database/connection-lease';
import type { DedicatedPool } from '../platform/database/dedicated-pool';
import { CopyOut } from '../platform/database/copy-out';
import { Database } from '../platform/database/database';
import { toDatabaseError } from '../platform/database/database-errors';
import { AppError } from '../platform/errors/app-error';
import { toAppError } from '../platform/errors/problem';
import { onAbort } from '../platform/runtime/abort';
import type { SpanSink } from '../platform/runtime/time-spans';
import { ChunkBuffer, type ExportFormat } from './export-format';
import { type DisconnectReason, type ExportCoding, ResponseSink } from './response-sink';
import { StreamLimiter } from './stream-limiter';

/** Whatever `chunkRows` says: rows of 256 KiB must not add up to gigabytes. */
const MAX_CHUNK_BYTES = 1024 * 1024;
/** Longest wait of buffered rows, plus one interval. */
const IDLE_FLUSH_MS = 500;
const TICK_MS = 250;
/** An export can fail with a proper status until its first row is sent; proxies wait only so long for that. */
const FIRST_ROW_WAIT_MS = 10_000;
/** Statements around the COPY take no time: a server that does not reply has gone. */
const STATEMENT_TIMEOUT_MS = 10_000;

/** Statuses below are of faults of the request, such as TIMELINE_CHANGED. */
const FIRST_SERVER_ERROR = 500;

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
  /** Rows of one write, unless MAX_CHUNK_BYTES comes first; STREAMING_CHUNK_SIZE by default. */
  chunkRows?: number;
  /** Aborts when the reader's token ends: disconnects, or refuses with its reason before the first byte. */
  signal?: AbortSignal | undefined;
  /** Of the request: they end with its first byte. */
  spans?: SpanSink;
  /** Notified of its end, unless nothing was sent. */
  onSettled?: (outcome: ExportOutcome) => void;
}

/** Exports of this process since its start; `active` is current. */
export interface ExportStatistics {
  active: number;
  /** Received in full by the client. */
  completed: number;
  /** Client disconnected or stalled, or the database failed after the first byte. */
  aborted: number;
  /** The service or the database failed before the first byte. */
  failed: number;
  /** Refused before the first byte: too many ran, the token ended, or the position to start from is not there. */
  refused: number;
  /** Rows and bytes (as sent, compressed), running exports included. */
  rows: number;
  bytes: number;
  /** Total duration of ended exports. */
  seconds: number;
}

export interface ExportOutcome {
  isComplete: boolean;
  reason?: string;
  rows: number;
  bytes: number;
}

/**
 * Exports of any rows that PostgreSQL can COPY, holding one chunk at a time. Own limit and connections, so that stalled
 * ones do not starve other requests.
 */
@Injectable()
export class Exporter implements BeforeApplicationShutdown {
  private readonly logger = new Logger(Exporter.name);
  private readonly limiter: StreamLimiter;
  private readonly pool: DedicatedPool;
  private readonly running = new Map<ExportRun, Promise<unknown>>();
  private readonly settled = {
    completed: 0,
    aborted: 0,
    failed: 0,
    refused: 0,
    rows: 0,
    bytes: 0,
    seconds: 0,
  };

  constructor(
    database: Database,
    @Inject(streamingConfig.KEY) private readonly config: ConfigType<typeof streamingConfig>,
    @Inject(databaseConfig.KEY) { acquireTimeoutMs }: ConfigType<typeof databaseConfig>,
  ) {
    const { maxConcurrent } = config;
    this.limiter = new StreamLimiter(maxConcurrent, 'exports');
    this.pool = database.dedicatedPool('exports', {
      max: maxConcurrent,
      timeoutMs: acquireTimeoutMs,
      isForCopy: true,
    });
  }

  /** @throws AppError NOT_FOUND when STREAMING_ENABLED is false. */
  requireEnabled(): void {
    if (!this.config.enabled) {
      throw new AppError('NOT_FOUND', 'Exports are switched off (STREAMING_ENABLED).');
    }
  }

  /**
   * Responds for a caller with a slot; resolves when the client has received the export or disconnected.
   * @throws AppError the signal's reason when the response has not begun; the database's failure: the response is still
   * to be made if it had not begun, and else disconnected.
   */
  async serve(request: ExportRequest, response: ServerResponse): Promise<void> {
    const run = new ExportRun(request, response, this.config);
    const startedMs = performance.now();
    const work = this.pool.withClient((client) => run.run(client), undefined, request.spans);
    this.running.set(run, work);
    let failure: AppError | undefined;
    try {
      await work;
    } catch (error) {
      failure = toDatabaseError(error);
    } finally {
      this.running.delete(run);
      this.settled.seconds += (performance.now() - startedMs) / 1000;
    }
    const { signal } = request;
    if (run.disconnectReason === 'token ended' && !response.headersSent && signal) {
      this.settled.refused += 1;
      throw toAppError(signal.reason);
    }
    this.settle(run, request, response.headersSent, failure);
  }

  statistics(): ExportStatistics {
    const running = [...this.running.keys()];
    const sum = (of: (run: ExportRun) => number) => running.reduce((all, run) => all + of(run), 0);
    return {
      ...this.settled,
      active: this.limiter.active,
      rows: this.settled.rows + sum(({ rows }) => rows),
      bytes: this.settled.bytes + sum(({ bytes }) => bytes),
    };
  }

  /** Waits for exports that the closing listener has disconnected. */
  async beforeApplicationShutdown(): Promise<void> {
    await Promise.allSettled(this.running.values());
  }

  /**
   * Acquires a slot before any work of the database; the returned function releases it.
   * @throws AppError TOO_MANY_REQUESTS.
   */
  acquire(owner: string): () => void {
    try {
      return this.limiter.acquire(owner);
    } catch (error) {
      this.settled.refused += 1;
      throw error;
    }
  }

  /** Throws the failure that the caller has to handle. */
  private settle(
    { rows, bytes, disconnectReason }: ExportRun,
    { onSettled }: ExportRequest,
    hasBegun: boolean,
    failure: AppError | undefined,
  ): void {
    this.settled.rows += rows;
    this.settled.bytes += bytes;
    if (failure === undefined) this.settled.completed += 1;
    else if (hasBegun || disconnectReason) this.settled.aborted += 1;
    else if (failure.status < FIRST_SERVER_ERROR) this.settled.refused += 1;
    else this.settled.failed += 1;
    const reason = disconnectReason ?? failure?.code;
    if (hasBegun) onSettled?.({ isComplete: failure === undefined, reason, rows, bytes });
    if (failure === undefined) return;
    if (disconnectReason) {
      this.logger.warn(`An export was cut after ${rows} rows: ${disconnectReason}.`);
      return;
    }
    if (!hasBegun) throw failure;
    throw new AppError(failure.code, `The export broke off after ${rows} rows. ${failure.detail}`, {
      cause: failure.cause,
    });
  }
}

/** One export from PostgreSQL to the client, no faster than the client reads. */
class ExportRun {
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
    private readonly config: ConfigType<typeof streamingConfig>,
  ) {
    const { source, coding } = request;
    this.copy = new CopyOut(source.statement, (row) => this.take(row));
    this.sink = new ResponseSink(response, {
      coding,
      stallTimeoutMs: config.stallTimeoutMs,
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
      const rows = String(this.rows);
      const own = this.request.format.trailers?.();
      await this.sink.end({ 'X-Export-Rows': rows, 'X-Export-Complete': 'true', ...own });
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
    const { format, source, chunkRows = this.config.chunkSize } = this.request;
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
  // An export is as slow as its reader, also where a pooler leaves the session with the limit of the role.
  const local = { statement_timeout: '0', ...settings };
  await client.query(bounded('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY'));
  const { rows } = await client.query<{ name: string }>(
    bounded(
      `SELECT to_char(clock_timestamp(), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || ' ' || pg_current_snapshot() AS name,
       (SELECT count(set_config(s.name, s.value, true)) FROM unnest($1::text[], $2::text[]) AS s (name, value))`,
      [Object.keys(local), Object.values(local)],
    ),
  );
  const [snapshot] = rows;
  if (!snapshot) throw new Error('PostgreSQL did not describe its snapshot');
  return snapshot.name;
}
