import { Logger } from '@nestjs/common';
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { getHeapStatistics } from 'node:v8';
import type { MetricRegistry } from '../metrics/metrics.registry';
import { processLimit } from '../metrics/process-memory';
import { compressingBytes, queuedBytes, stateOf } from './connection-state';

const MIB = 1024 * 1024;
/** Of the memory that the process may have. 64 MiB of 512, which are two of the largest pages. */
const SHARE = 1 / 8;
/** Of the limit of V8's heap: where memory is short it is short of this, too. */
const HEAP_SHARE = 1 / 2;
const MIN_BYTES = 64 * MIB;
const MAX_BYTES = 512 * MIB;
/** While there is more than this many times that, those who read are cut, too: better a few than all of them. */
const READERS_FACTOR = 2;
const CHECK_INTERVAL_MS = 250;
/** How long after it was answered a client may take until it is seen to read: some round trips to anywhere. */
const GRACE_MS = 5000;
/** A slow reader is seen in leaps: the kernel takes more once a third of what it has is gone, up to some MB. */
const LEAP_MS = 15_000;
/** Whoever takes nothing for so long has gone, or wants to hold something here. */
const STALL_MS = 60_000;
/** Between two lines in the log. */
const REPORT_INTERVAL_MS = 10_000;

/** What Node counts on its handles, and does not declare. */
type Counted = Socket & {
  _handle?: { bytesWritten?: number; writeQueueSize?: number } | null;
};

/** A connection on which bytes wait for their reader. */
interface Unread {
  socket: Socket;
  /** Memory behind it: a chunk stays whole until its last byte has gone. */
  bytes: number;
  taken: number;
  /** When bytes were first seen to wait, and when the last of them were seen to go. */
  sinceMs: number;
  movedMs: number;
}

/** Who goes first when there is too much. */
enum Rank {
  /** Takes nothing. */
  standing,
  /** Has taken nothing yet, and was answered only now. */
  fresh,
  /** Has taken something, and may be between two leaps. */
  resting,
  reading,
}

/** Bytes that the kernel has taken on their way to the client, since it connected. */
export function takenBytes(socket: Counted): number {
  const { bytesWritten = 0, writeQueueSize = 0 } = socket._handle ?? {};
  return bytesWritten - writeQueueSize;
}

/**
 * Bounds what waits in the process for clients to read it: an answer is up to 32 MiB, and who asks for one on each of 60
 * connections and reads none holds a gigabyte. Those who do not read are cut, the largest first, until the rest fits; and
 * whoever takes nothing for a minute. Looks a few times a second at what is open; no request pays for it.
 */
export class SlowClientGuard {
  /** Beyond this who does not read is cut. */
  limitBytes = Math.min(MAX_BYTES, Math.max(MIN_BYTES, largestShare()));
  stallMs = STALL_MS;
  private readonly logger = new Logger('SlowClientGuard');
  private readonly sockets = new Set<Socket>();
  private waiting = new Map<Socket, Unread>();
  private readonly disconnects = { memory: 0, stalled: 0 };
  private unreported = { count: 0, bytes: 0 };
  private reportedMs = -Infinity;

  constructor(server: Server) {
    server.on('connection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket));
    });
    let looking: NodeJS.Timeout | undefined;
    server.on('listening', () => {
      looking = setInterval(() => this.check(performance.now()), CHECK_INTERVAL_MS).unref();
    });
    server.on('close', () => clearInterval(looking));
  }

  /** What waits right now, in bytes. */
  get bytes(): number {
    let sum = 0;
    for (const socket of this.sockets) sum += unsentBytes(socket);
    return sum;
  }

  /** Shows what waits, and how many connections were cut for it. */
  registerWith(registry: MetricRegistry): void {
    registry.register(
      {
        name: 'http_unread_answer_bytes',
        help: 'Bytes of answers that clients have not read yet.',
        type: 'gauge',
      },
      () => this.bytes,
    );
    registry.register(
      {
        name: 'http_unread_connections_cut_total',
        help: 'Connections cut because their clients did not read: too much waited in all, or nothing moved for a minute.',
        type: 'counter',
      },
      () =>
        Object.entries(this.disconnects).map(([reason, value]) => ({ labels: { reason }, value })),
    );
  }

  private check(nowMs: number): void {
    this.waiting = this.findWaiting(nowMs);
    let sum = 0;
    for (const one of this.waiting.values()) {
      if (this.isStalled(one, nowMs)) this.disconnect(one, 'stalled');
      else sum += one.bytes;
    }
    if (sum > this.limitBytes) this.disconnectUntilItFits(sum, nowMs);
    if (this.unreported.count > 0 && nowMs - this.reportedMs >= REPORT_INTERVAL_MS)
      this.report(nowMs);
  }

  private findWaiting(nowMs: number): Map<Socket, Unread> {
    const found = new Map<Socket, Unread>();
    for (const socket of this.sockets) {
      const bytes = unsentBytes(socket);
      if (bytes === 0) continue;
      const taken = takenBytes(socket);
      const before = this.waiting.get(socket);
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

  /** Exports have switched off the timeout of their connection, and time their readers themselves. */
  private isStalled({ socket, movedMs }: Unread, nowMs: number): boolean {
    if (nowMs - movedMs < this.stallMs || socket.writableLength === 0) return false;
    return socket.timeout !== 0 || stateOf(socket).active === 0;
  }

  private disconnectUntilItFits(sum: number, nowMs: number): void {
    const ranked = [...this.waiting.values()]
      .filter(({ socket }) => !socket.destroyed)
      .map((one) => ({ one, rank: rankOf(one, nowMs) }))
      .sort((a, b) => a.rank - b.rank || b.one.bytes - a.one.bytes);
    let left = sum;
    for (const { one, rank } of ranked) {
      if (left <= this.limitBytes * (rank === Rank.standing ? 1 : READERS_FACTOR)) return;
      this.disconnect(one, 'memory');
      left -= one.bytes;
    }
  }

  /** A reset, so that the kernel does not keep its megabytes for them either. */
  private disconnect({ socket, bytes }: Unread, reason: keyof typeof this.disconnects): void {
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

function rankOf({ sinceMs, movedMs }: Unread, nowMs: number): Rank {
  const hasMoved = movedMs > sinceMs;
  if (nowMs - movedMs >= (hasMoved ? LEAP_MS : GRACE_MS)) return Rank.standing;
  if (!hasMoved) return Rank.fresh;
  return movedMs === nowMs ? Rank.reading : Rank.resting;
}

function inMiB(bytes: number): number {
  return Math.round(bytes / MIB);
}
