import { Logger } from '@nestjs/common';
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { getHeapStatistics } from 'node:v8';
import { labelled, type MetricRegistry } from '../metrics/metrics.registry';
import { processLimit } from '../metrics/process.metrics';
import { compressingBytes, queuedBytes, stateOf } from './connection-state';

const MIB = 1024 * 1024;
/** Share of the process memory for unread bytes: of 512 MiB 64, two of the largest pages. */
const SHARE = 1 / 8;
/** Share of V8's heap limit for them, where that is less. */
const HEAP_SHARE = 1 / 2;
const MIN_BYTES = 64 * MIB;
const MAX_BYTES = 512 * MIB;
/** Multiple of the limit beyond which reading clients are disconnected as well. */
const READERS_FACTOR = 2;
const CHECK_INTERVAL_MS = 250;
/** Time of several round trips, in which the client of a new response may take nothing. */
const NEW_MS = 5000;
/** Longest pause of a slow reader: the kernel takes more bytes once a third of its buffer (some MB) is free. */
const IDLE_MS = 15_000;
/** Time without progress after which a client is disconnected at any load. */
const STALL_MS = 60_000;
const REPORT_INTERVAL_MS = 10_000;

type Counted = Socket & {
  _handle?: { bytesWritten?: number; writeQueueSize?: number } | null;
};

interface Pending {
  socket: Socket;
  /** Memory of the unread bytes: a chunk stays whole until its last byte is taken. */
  bytes: number;
  taken: number;
  /** Times of the checks that first found unread bytes, and that last found progress. */
  sinceMs: number;
  movedMs: number;
}

/** Order in which clients are disconnected. */
enum ReadingState {
  stalled,
  /** New response, of which nothing is taken yet. */
  new,
  /** Taken in part; the client may be between two reads. */
  idle,
  draining,
}

/** Returns the bytes that the kernel has accepted since the client connected. */
export function takenBytes(socket: Counted): number {
  const { bytesWritten = 0, writeQueueSize = 0 } = socket._handle ?? {};
  return bytesWritten - writeQueueSize;
}

/**
 * Limits the response bytes that clients have not read: 60 connections with 32 MiB each hold more than a gigabyte.
 * Disconnects clients that do not read, those with most bytes first, until the others fit, and every client without
 * progress for a minute. A timer checks the connections, at no cost to requests.
 */
export class SlowClientGuard {
  limitBytes = Math.min(MAX_BYTES, Math.max(MIN_BYTES, largestShare()));
  stallMs = STALL_MS;
  private readonly logger = new Logger('SlowClientGuard');
  private readonly sockets = new Set<Socket>();
  private pending = new Map<Socket, Pending>();
  private readonly disconnects = { memory: 0, stalled: 0 };
  private unreported = { count: 0, bytes: 0 };
  private reportedMs = -Infinity;

  constructor(server: Server) {
    server.on('connection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket));
    });
    let checking: NodeJS.Timeout | undefined;
    server.on('listening', () => {
      checking = setInterval(() => this.check(performance.now()), CHECK_INTERVAL_MS).unref();
    });
    server.on('close', () => clearInterval(checking));
  }

  get bytes(): number {
    let sum = 0;
    for (const socket of this.sockets) sum += unsentBytes(socket);
    return sum;
  }

  registerWith(registry: MetricRegistry): void {
    registry.gauge(
      'audit_http_unread_response_bytes',
      'Bytes of answers that clients have not read yet.',
      () => this.bytes,
    );
    registry.counter(
      'audit_http_unread_connections_cut_total',
      'Connections cut because their clients did not read: too much waited in all, or nothing moved for a minute.',
      () => labelled('reason', this.disconnects),
    );
  }

  private check(nowMs: number): void {
    this.pending = this.findPending(nowMs);
    let sum = 0;
    for (const client of this.pending.values()) {
      if (this.isStalled(client, nowMs)) this.disconnect(client, 'stalled');
      else sum += client.bytes;
    }
    if (sum > this.limitBytes) this.disconnectUntilItFits(sum, nowMs);
    if (this.unreported.count > 0 && nowMs - this.reportedMs >= REPORT_INTERVAL_MS)
      this.report(nowMs);
  }

  private findPending(nowMs: number): Map<Socket, Pending> {
    const found = new Map<Socket, Pending>();
    for (const socket of this.sockets) {
      const bytes = unsentBytes(socket);
      if (bytes === 0) continue;
      const taken = takenBytes(socket);
      const before = this.pending.get(socket);
      const hasMoved = taken !== before?.taken;
      found.set(socket, {
        socket,
        bytes,
        taken,
        sinceMs: before?.sinceMs ?? nowMs,
        movedMs: hasMoved ? nowMs : before.movedMs,
      });
    }
    return found;
  }

  /** Tells whether a client has stalled. Exports, whose sockets have no timeout, measure that themselves. */
  private isStalled({ socket, movedMs }: Pending, nowMs: number): boolean {
    if (nowMs - movedMs < this.stallMs || socket.writableLength === 0) return false;
    return socket.timeout !== 0 || stateOf(socket).active === 0;
  }

  private disconnectUntilItFits(sum: number, nowMs: number): void {
    const ranked = [...this.pending.values()]
      .filter(({ socket }) => !socket.destroyed)
      .map((client) => ({ client, state: readingStateOf(client, nowMs) }))
      .sort((a, b) => a.state - b.state || b.client.bytes - a.client.bytes);
    let left = sum;
    for (const { client, state } of ranked) {
      const factor = state === ReadingState.stalled ? 1 : READERS_FACTOR;
      if (left <= this.limitBytes * factor) return;
      this.disconnect(client, 'memory');
      left -= client.bytes;
    }
  }

  /** Resets the connection, which frees the kernel's buffers too. */
  private disconnect({ socket, bytes }: Pending, reason: keyof typeof this.disconnects): void {
    if (socket.writableLength > 0) socket.resetAndDestroy();
    else socket.destroy();
    this.disconnects[reason] += 1;
    this.unreported.count += 1;
    this.unreported.bytes += bytes;
  }

  private report(nowMs: number): void {
    const { count, bytes } = this.unreported;
    this.logger.warn(
      `Cut ${count} connections whose clients did not read ${inMiB(bytes)} MiB of answers; ${inMiB(this.limitBytes)} MiB may wait. ` +
        'Requests with status 499 in this log name who asked: have them read, or ask for less (limit, fields), or export.',
    );
    this.unreported = { count: 0, bytes: 0 };
    this.reportedMs = nowMs;
  }
}

function largestShare(): number {
  const { heap_size_limit: heap } = getHeapStatistics();
  return Math.min(processLimit().bytes * SHARE, heap * HEAP_SHARE);
}

function unsentBytes(socket: Socket): number {
  if (socket.destroyed) return 0;
  return socket.writableLength + queuedBytes(socket) + compressingBytes(socket);
}

function readingStateOf({ sinceMs, movedMs }: Pending, nowMs: number): ReadingState {
  const hasMoved = movedMs > sinceMs;
  if (nowMs - movedMs >= (hasMoved ? IDLE_MS : NEW_MS)) return ReadingState.stalled;
  if (!hasMoved) return ReadingState.new;
  return movedMs === nowMs ? ReadingState.draining : ReadingState.idle;
}

function inMiB(bytes: number): number {
  return Math.round(bytes / MIB);
}
