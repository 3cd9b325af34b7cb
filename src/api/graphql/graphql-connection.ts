import { setMaxListeners } from 'node:events';
import type { IncomingMessage } from 'node:http';
import WebSocket from 'ws';
import { type Principal, principalKey } from '../../auth/principal';
import type { TokenLife } from '../../auth/token-life';
import { onAbort } from '../../platform/runtime/abort';
import { restoreNumbers } from '../../platform/runtime/lossless-json';
import { estimateParsedBytes } from '../../http/body-memory-limiter';
import { clientClosed } from '../../http/request-context';
import type { Quota } from '../../platform/runtime/quota';
import { takenBytes } from '../../http/slow-client-guard';

/** Bytes that a peer has not taken, from which on its messages are not read. */
const MAX_BUFFERED_BYTES = 4 * 1024 * 1024;
/** Queries and mutations that run at once on one socket: each result may have 32 MiB. */
const MAX_RUNNING = 4;
/** From so many bytes on, a peer may need longer than a check to read: 15 s at 140 kbit/s. */
const MUCH_BYTES = 256 * 1024;
/** Checks that it then survives without a sign of life: the kernel holds up to 4 MB for it, invisible from here. */
const CHECKS_TO_READ = 4;
/** Time for a peer to close its side, and for operations to report why they end. */
const CLOSE_WAIT_MS = 1000;
const CLOSE_POLL_MS = 10;
/** A token has at most 16 KiB. */
const MAX_INIT_CHARACTERS = 64 * 1024;
const MAX_MESSAGES_BEFORE_INIT = 10;
/** Limit of the memory that an unfinished first message takes. */
const MAX_UNFINISHED_INIT_BYTES = 2 * MAX_INIT_CHARACTERS;
/** Bytes of an unfinished message that are not counted: most are then refused as operations, not as sockets. */
const MAX_UNCOUNTED_BYTES = 64 * 1024;
/** A message of so many bytes is not counted: the limits of operations, sockets and subscriptions bound their number. */
const SMALL_MESSAGE_BYTES = 4 * 1024;
/** Refused large messages of one socket whose error has not left: each is kept until then. */
const MAX_REFUSED = 4;
/** Memory of each read of a socket and of each frame, beside its bytes. */
const CHUNK_COST_BYTES = 256;
/** Head of a frame from a client (RFC 6455, section 5.2): two bytes and the mask at least. */
const FRAME_BYTES = 6;

/** Close codes (RFC 6455, section 7.4, and the graphql-transport-ws protocol). */
export const CLOSE = {
  goingAway: 1001,
  unsupportedData: 1003,
  policyViolation: 1008,
  tooBig: 1009,
  internalError: 1011,
  tryAgainLater: 1013,
  badRequest: 4400,
  unauthorized: 4401,
} as const;

const NOTHING_TO_RELEASE = (): void => undefined;

/**
 * Estimates the memory of a message that is not whole yet from what its connection has read: the parser of frames reports
 * nothing of the parts that it keeps, and a client may send frames and segments of one byte.
 */
export class UnfinishedMessage {
  private bytes = 0;
  private chunks = 0;
  private lastChunkBytes = 0;

  /** Bytes. */
  get cost(): number {
    return this.bytes + CHUNK_COST_BYTES * this.chunks;
  }

  /** To be called before the chunk is parsed. */
  add(chunkBytes: number): void {
    this.bytes += chunkBytes;
    this.chunks += 1;
    this.lastChunkBytes = chunkBytes;
  }

  /** A message is whole: what is left can only have come with the last chunk. */
  finish(messageBytes: number): void {
    const left = Math.max(0, this.bytes - messageBytes - FRAME_BYTES);
    this.bytes = Math.min(left, this.lastChunkBytes);
    this.chunks = this.bytes > 0 ? 1 : 0;
  }

  /** A ping or pong may come between the frames of a message. */
  passControl(payloadBytes: number): void {
    this.bytes = Math.max(0, this.bytes - payloadBytes - FRAME_BYTES);
    this.chunks = Math.max(0, this.chunks - 1);
  }
}

/** One WebSocket: its principal, its sign of life, and the memory for messages in both directions. */
export class GraphqlConnection {
  principal: Principal | undefined;
  /** The message that is being received, with the numbers that its parsed form has lost. */
  text = '';
  /** Whether there is no memory for the message that is being received. */
  isOutOfMemory = false;
  isClosing = false;
  subscriptions = 0;
  private underWay = 0;
  private running = 0;
  private refused = 0;
  private readonly waiting = new Set<() => void>();
  private receivedBeforeInit = 0;
  private readonly unfinished = new UnfinishedMessage();
  /** Memory reserved for the unfinished message. */
  private readonly reserved = { sender: '', bytes: 0 };
  private checksLeft = 1;
  /** Bytes at the last check: buffered for the peer, and all that the kernel had taken. */
  private before = { buffered: 0, taken: 0 };
  private releases: (() => void)[] = [];
  private readonly over = new AbortController();
  private readonly heartbeat: NodeJS.Timeout;

  constructor(
    private readonly socket: WebSocket,
    readonly request: IncomingMessage & { principal?: Principal },
    keepAliveMs: number,
    /** Bounds the messages of all sockets whose operations are under way. */
    private readonly memory: Quota,
  ) {
    setMaxListeners(Infinity, this.signal); // one for each operation under way
    this.heartbeat = setInterval(() => this.checkAlive(), keepAliveMs).unref();
    socket.on('ping', (data: Buffer) => this.unfinished.passControl(data.length));
    socket.on('pong', (data: Buffer) => {
      this.noteLife();
      this.unfinished.passControl(data.length);
    });
    request.socket.prependListener('data', (chunk: Buffer) => this.countUnfinished(chunk.length));
    socket.on('error', () => undefined); // a close follows
    socket.once('close', () => {
      clearInterval(this.heartbeat);
      this.reserve(0);
      for (const release of this.releases) release();
      this.over.abort(clientClosed());
    });
  }

  get isOpen(): boolean {
    return this.socket.readyState === WebSocket.OPEN;
  }

  /** Aborts when the socket closes (CLIENT_CLOSED) or the token ends (UNAUTHENTICATED). */
  get signal(): AbortSignal {
    return this.over.signal;
  }

  /** Queries and mutations under way. */
  get responding(): number {
    return this.underWay - this.subscriptions;
  }

  /** Calls `take` with each message; it resolves when its operation is over. */
  receive(take: (text: string) => Promise<void>): void {
    this.socket.on('message', (data: Buffer, isBinary: boolean) => {
      this.noteLife();
      this.unfinished.finish(data.length);
      this.reserve(0);
      if (!this.isOpen || this.isClosing) return;
      if (isBinary) return this.close(CLOSE.unsupportedData, 'Send text');
      if (!this.principal) {
        this.receivedBeforeInit += 1;
        if (data.length > MAX_INIT_CHARACTERS) return this.close(CLOSE.tooBig, 'Too large');
        if (this.receivedBeforeInit > MAX_MESSAGES_BEFORE_INIT) {
          return this.close(CLOSE.policyViolation, 'Too many messages before the token');
        }
      }
      const release = this.memoryFor(data);
      if (!release && this.refused >= MAX_REFUSED) {
        return this.close(CLOSE.tryAgainLater, 'Too many large messages are under way');
      }
      if (!release) this.refused += 1;
      this.underWay += 1;
      this.text = data.toString();
      this.isOutOfMemory = !release;
      take(this.text)
        .catch(() => this.close(CLOSE.internalError, 'Something went wrong here'))
        .finally(() => {
          this.underWay -= 1;
          if (release) release();
          else this.refused -= 1;
        });
      this.text = ''; // it has been read, or never will be
      this.isOutOfMemory = false;
    });
  }

  private countUnfinished(chunkBytes: number): void {
    this.unfinished.add(chunkBytes);
    const { cost } = this.unfinished;
    if (!this.principal) {
      if (cost > MAX_UNFINISHED_INIT_BYTES) this.stopReading(CLOSE.tooBig, 'Too large');
    } else if (!this.reserve(cost <= MAX_UNCOUNTED_BYTES ? 0 : cost)) {
      this.stopReading(CLOSE.tryAgainLater, 'Too many large messages are being sent');
    }
  }

  private get sender(): string | undefined {
    return this.principal && principalKey(this.principal);
  }

  /** Acquires or releases memory until so many bytes are reserved; false when there is not as much. */
  private reserve(bytes: number): boolean {
    const { reserved } = this;
    if (reserved.bytes === 0) reserved.sender = this.sender ?? '';
    const more = bytes - reserved.bytes;
    if (more > 0 && !this.memory.acquire(reserved.sender, more)) return false;
    if (more < 0) this.memory.release(reserved.sender, -more);
    reserved.bytes = bytes;
    return true;
  }

  private stopReading(code: number, reason: string): void {
    this.close(code, reason);
    this.request.socket.pause();
  }

  /** Acquires memory for a message and its parsed form; returns its release, undefined when there is none. */
  private memoryFor(message: Buffer): (() => void) | undefined {
    const { sender } = this;
    if (sender === undefined || message.length <= SMALL_MESSAGE_BYTES) return NOTHING_TO_RELEASE;
    const bytes = estimateParsedBytes(message);
    if (!this.memory.acquire(sender, bytes)) return undefined;
    return () => this.memory.release(sender, bytes);
  }

  /**
   * Runs a query or mutation once few others run here and the peer has taken their results, so that a peer that does not
   * read holds no more than those. @throws the reason of the signal.
   */
  async withPermit<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const removeListener = onAbort(signal, () => this.wakeWaiting());
    while (!this.hasPermit && !signal.aborted) {
      await new Promise<void>((resolve) => this.waiting.add(resolve));
    }
    removeListener();
    signal.throwIfAborted();
    this.running += 1;
    try {
      return await work();
    } finally {
      this.running -= 1;
      setImmediate(() => this.wakeWaiting()); // by then the result is in the buffer
    }
  }

  private get hasPermit(): boolean {
    return this.running < MAX_RUNNING && this.socket.bufferedAmount <= MAX_BUFFERED_BYTES;
  }

  private wakeWaiting(): void {
    for (const resolve of this.waiting) resolve();
    this.waiting.clear();
  }

  /** Resolves when the text has left for the peer, so that a sender is no faster than its peer. */
  send(text: string): Promise<void> {
    if (!this.isOpen) return Promise.resolve();
    return new Promise((resolve) => {
      this.socket.send(restoreNumbers(text), () => {
        resolve();
        const { isPaused, bufferedAmount } = this.socket;
        if (bufferedAmount > MAX_BUFFERED_BYTES) return;
        if (isPaused) this.socket.resume();
        this.wakeWaiting();
      });
      if (this.socket.bufferedAmount > MAX_BUFFERED_BYTES) this.socket.pause();
    });
  }

  /** `release` is called when the socket closes. */
  admit(principal: Principal, tokens: Pick<TokenLife, 'watch'>, release: () => void): void {
    this.releases.push(release);
    this.principal = principal;
    this.request.principal = principal; // for the access log
    const stopWatching = tokens.watch(principal, (reason) => {
      this.over.abort(reason);
      // Operations under way send their errors first.
      this.closeOnce(
        () => this.underWay === 0,
        performance.now() + CLOSE_WAIT_MS,
        CLOSE.unauthorized,
        'Unauthorized',
      );
    });
    this.releases.push(stopWatching);
  }

  /** Closes once queries and mutations are done, at `deadlineMs` (of performance.now()) at the latest. */
  closeWhenIdle(deadlineMs: number): void {
    this.isClosing = true;
    this.closeOnce(() => this.responding === 0, deadlineMs, CLOSE.goingAway, 'Going away');
  }

  close(code: number, reason: string): void {
    this.socket.close(code, reason);
    if (this.socket.isPaused) this.socket.resume(); // to read the peer's close frame
    setTimeout(() => this.socket.terminate(), CLOSE_WAIT_MS).unref();
  }

  private closeOnce(isDone: () => boolean, deadlineMs: number, code: number, reason: string): void {
    if (isDone() || performance.now() >= deadlineMs) return this.close(code, reason);
    const check = (): void => this.closeOnce(isDone, deadlineMs, code, reason);
    setTimeout(check, CLOSE_POLL_MS).unref();
  }

  private noteLife(): void {
    this.checksLeft = Math.max(1, this.checksLeft);
  }

  /** Disconnects a silent peer. Slow is not silent: a ping is answered only after what was sent before it is read. */
  private checkAlive(): void {
    const buffered = this.socket.bufferedAmount;
    const taken = takenBytes(this.request.socket);
    const more = taken - this.before.taken;
    if (more > (this.before.buffered > 0 ? 0 : MUCH_BYTES)) this.checksLeft = CHECKS_TO_READ;
    if (this.checksLeft === 0) return this.socket.terminate();
    this.checksLeft -= 1;
    this.before = { buffered, taken };
    if (this.isOpen) this.socket.ping();
  }
}
