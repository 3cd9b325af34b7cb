import { Injectable } from '@nestjs/common';
import type { ServerResponse } from 'node:http';
import { getHeapStatistics } from 'node:v8';
import { AppError } from '../platform/errors/app-error';
import { processLimit } from '../metrics/process.metrics';

const MIB = 1024 * 1024;
/** Share of a container's memory for the heap, when V8's limit is higher; buffers and code take the rest. */
const HEAP_OF_PROCESS = 0.7;
/** Share of the heap for all responses without a permit. */
const SHARED_SHARE = 1 / 10;
/** Share of the heap for the one response with a permit, beside the shared bytes. */
const SINGLE_SHARE = 1 / 5;
/** UTF-8 bytes of the largest page. */
const MAX_PAGE_BYTES = 32 * MIB;
/** Smaller responses are never refused or delayed; a usual page has 30 kB. */
const SMALL_RESPONSE_BYTES = 256 * 1024;
/**
 * Memory for a UTF-8 byte of a page: two bytes in the strings of its rows (V8 needs these for all characters when one is
 * not Latin-1), and one in the output buffer.
 */
const COPIES_OF_PAGE = 3;

/** Error of a reservation when the shared memory is used up: the response is made again with a permit. */
export class OutOfResponseMemory extends AppError {
  constructor() {
    super('TOO_MANY_REQUESTS', 'Too many large answers are being made.', { retryAfterSeconds: 1 });
  }
}

/**
 * Budget in bytes that responses share, from their rows until they are written. Clients that do not read hold none of it,
 * as SlowClientGuard counts written bytes. A reservation grows with its response. A response beyond the budget is made
 * again with a permit (ResponsePermits), one response at a time: it may exceed the shared bytes, and so never waits for
 * the memory of others.
 */
@Injectable()
export class ResponseMemory {
  readonly sharedBytes: number;
  readonly responseBytes: number;
  /** Limit of a page's events in UTF-8 bytes. */
  readonly pageBytes: number;
  private sharedReserved = 0;
  private singleReserved = 0;

  constructor(heapBytes = usableHeap()) {
    this.sharedBytes = Math.floor(heapBytes * SHARED_SHARE);
    this.responseBytes = Math.floor(heapBytes * SINGLE_SHARE);
    this.pageBytes = Math.min(MAX_PAGE_BYTES, Math.floor(this.responseBytes / COPIES_OF_PAGE));
  }

  get reserved(): number {
    return this.sharedReserved + this.singleReserved;
  }

  /** Creates an empty reservation; `hasPermit` is true for the holder of a permit. */
  reserve(hasPermit = false): ResponseReservation {
    return new ResponseReservation((bytes, held) => this.change(bytes, held, hasPermit), hasPermit);
  }

  /** Reserves memory for optional work; undefined when the budget is used up. */
  tryReserve(bytes: number): ResponseReservation | undefined {
    const reservation = this.reserve();
    try {
      reservation.resize(bytes);
      return reservation;
    } catch {
      return undefined;
    }
  }

  private change(bytes: number, held: number, hasPermit: boolean): void {
    if (bytes > held && bytes > this.responseBytes) throw this.tooLarge();
    if (hasPermit) {
      this.singleReserved += bytes - held;
      return;
    }
    const next = this.sharedReserved + bytes - held;
    if (bytes > held && next > this.sharedBytes && bytes > SMALL_RESPONSE_BYTES) {
      throw new OutOfResponseMemory();
    }
    this.sharedReserved = next;
  }

  private tooLarge(): AppError {
    const detail = `The answer would take more than the ${Math.floor(this.responseBytes / MIB)} MiB of memory that this process has for one: ask for fewer events at once.`;
    return new AppError('REQUEST_TOO_LARGE', detail);
  }
}

/** Bytes of the budget for one response, until its last user has released them. */
export class ResponseReservation {
  private heldBytes = 0;
  private users = 1;
  onRelease: (() => void) | undefined;

  constructor(
    private readonly change: (bytes: number, held: number) => void,
    readonly hasPermit: boolean,
  ) {}

  get held(): number {
    return this.heldBytes;
  }

  /**
   * Sets the size in bytes.
   * @throws OutOfResponseMemory when other responses hold too much; AppError REQUEST_TOO_LARGE beyond the limit of one.
   */
  resize(bytes: number): void {
    if (this.users === 0) return;
    this.change(bytes, this.heldBytes);
    this.heldBytes = bytes;
  }

  /**
   * Reserves strings and buffer for `bytes` of rows.
   * @throws as resize.
   */
  resizeForRows(bytes: number): void {
    if (bytes > SMALL_RESPONSE_BYTES) this.resize(bytes * COPIES_OF_PAGE);
  }

  add(bytes: number): void {
    this.resize(this.heldBytes + bytes);
  }

  /** Adds a user: the reservation lasts until this response has ended. */
  holdFor(response: ServerResponse): void {
    if (this.users === 0 || this.heldBytes === 0) return;
    this.users += 1;
    whenEnded(response, () => this.release());
  }

  /** Releases the first use, once requests that share the response have called holdFor. */
  settle(): void {
    if (this.heldBytes === 0 && !this.hasPermit) this.release();
    else setImmediate(() => this.release());
  }

  release(): void {
    if (this.users === 0) return;
    this.users -= 1;
    if (this.users > 0) return;
    this.change(0, this.heldBytes);
    this.heldBytes = 0;
    this.onRelease?.();
  }
}

/**
 * Runs `work` once, when the response's `end` is called or its connection closes. Node's events come later: `prefinish`
 * waits for compressors and for earlier responses.
 */
function whenEnded(response: ServerResponse, work: () => void): void {
  if (response.destroyed || response.writableEnded) return work();
  let isDone = false;
  const done = (): void => {
    if (isDone) return;
    isDone = true;
    response.off('close', done);
    work();
  };
  const end = response.end.bind(response) as (...parameters: unknown[]) => ServerResponse;
  response.end = (...parameters: unknown[]) => {
    try {
      return end(...parameters);
    } finally {
      done();
    }
  };
  response.on('close', done);
}

function usableHeap(): number {
  return Math.min(getHeapStatistics().heap_size_limit, processLimit().bytes * HEAP_OF_PROCESS);
}
