import { setMaxListeners } from 'node:events';
import type { IncomingMessage } from 'node:http';
import WebSocket from 'ws';
import type { Principal } from '../../auth/principal';
import type { TokenLife } from '../../auth/token-life';
import { onAbort } from '../../platform/runtime/abort';
import { restoreNumbers } from '../../platform/runtime/lossless-json';
import { estimateParsedBytes } from '../../http/body-memory-limiter';
import { clientClosed } from '../../http/request-signal';
import type { Quota } from '../../platform/runtime/quota';
import { takenBytes } from '../../http/slow-client.guard';
import { UnfinishedMessage } from './unfinished-message';

/** Bytes that a peer has not taken, from which on no more of its messages are read. */
const MAX_BUFFERED_BYTES = 4 * 1024 * 1024;
/** Queries and mutations that run at once on one socket: the answer of each may have 32 MiB. */
const MAX_RUNNING = 4;
/** From so many bytes on, a peer may need longer than a check to read what it was sent: 15 s at 140 kbit/s. */
const MUCH_BYTES = 256 * 1024;
/** How many checks it then survives without a sign of life: the kernel holds up to 4 MB for it, unseen from here. */
const CHECKS_TO_READ = 4;
/** How long a peer may take to close its side, and operations to tell why they end. */
const CLOSE_WAIT_MS = 1000;
const LINGER_POLL_MS = 10;
/** A token has at most 16 KiB. */
const MAX_INIT_CHARACTERS = 64 * 1024;
const MAX_MESSAGES_BEFORE_INIT = 10;
/** The same in the memory that it takes before it is whole. */
const MAX_UNFINISHED_INIT_BYTES = 2 * MAX_INIT_CHARACTERS;
/** What of a message is not counted before it is whole: most are then refused as operations, not as sockets. */
const MAX_UNCOUNTED_BYTES = 64 * 1024;

/**
 * A message of so many bytes is not counted. How many there may be is bounded by the operations of a socket, the sockets
 * and the subscriptions of a principal.
 */
const SMALL_MESSAGE_BYTES = 4 * 1024;
/** Refused large messages of one socket whose answers have not left: each is held until then. */
const MAX_REFUSED = 4;

/** Codes of closed sockets (RFC 6455, section 7.4, and the graphql-transport-ws protocol). */
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

const NOTHING_TAKEN = (): void => undefined;

/** One WebSocket: who is at its other end, whether anybody still is, and how much is on its way there. */
export class GraphqlConnection {
  /** Who it belongs to; undefined until a good token came. */
  principal: Principal | undefined;
  /** The message that is being taken in, for what its parsed form has lost. */
  text = '';
  /** Whether there is no memory for what the message that is being taken in asks for. */
  isAtCapacity = false;
  /** It takes no more messages, and closes once what they have asked for is answered. */
  isLeaving = false;
  /** Subscriptions among what is under way. */
  following = 0;
  private underWay = 0;
  private running = 0;
  private refused = 0;
  private readonly waiting = new Set<() => void>();
  private received = 0;
  private readonly unfinished = new UnfinishedMessage();
  /** Taken of the room for what is not whole yet, and for whom. */
  private reserved: { sender: string; bytes: number } = { sender: '', bytes: 0 };
  /** Checks that it survives without another sign of life. */
  private checksLeft = 1;
  /** What waited for it at the last check, and what the kernel had taken of all until then; bytes. */
  private before = { waiting: 0, taken: 0 };
  private stopWatching = (): void => undefined;
  private readonly over = new AbortController();
  private readonly heartbeat: NodeJS.Timeout;

  constructor(
    private readonly socket: WebSocket,
    readonly request: IncomingMessage & { principal?: Principal },
    keepAliveMs: number,
    /** For the messages of all sockets, while what they ask for is under way. */
    private readonly capacity: Quota,
  ) {
    setMaxListeners(Infinity, this.signal); // one for each operation under way
    this.heartbeat = setInterval(() => this.checkAlive(), keepAliveMs).unref();
    socket.on('ping', (data: Buffer) => this.unfinished.passControl(data.length));
    socket.on('pong', (data: Buffer) => {
      this.noteLife();
      this.unfinished.passControl(data.length);
    });
    request.socket.prependListener('data', (chunk: Buffer) => this.countUnfinished(chunk.length));
    socket.on('error', () => undefined); // the close that follows says it
    socket.once('close', () => {
      clearInterval(this.heartbeat);
      this.reserve(0);
      this.stopWatching();
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
  get answering(): number {
    return this.underWay - this.following;
  }

  /** Hands each message of the other side to `take`, which resolves when nothing more comes of it. */
  receive(take: (text: string) => Promise<void>): void {
    this.socket.on('message', (data: Buffer, isBinary: boolean) => {
      this.noteLife();
      this.unfinished.finish(data.length);
      this.reserve(0);
      if (!this.isOpen || this.isLeaving) return; // told to go, or about to be
      if (isBinary) return this.close(CLOSE.unsupportedData, 'Send text');
      if (!this.principal) {
        this.received += 1;
        if (data.length > MAX_INIT_CHARACTERS) return this.close(CLOSE.tooBig, 'Too large');
        if (this.received > MAX_MESSAGES_BEFORE_INIT) {
          return this.close(CLOSE.policyViolation, 'Too many messages before the token');
        }
      }
      const giveBack = this.capacityFor(data);
      if (!giveBack && this.refused >= MAX_REFUSED) {
        return this.close(CLOSE.tryAgainLater, 'Too many large messages are under way');
      }
      if (!giveBack) this.refused += 1;
      this.underWay += 1;
      this.text = data.toString();
      this.isAtCapacity = !giveBack;
      take(this.text)
        .catch(() => this.close(CLOSE.internalError, 'Something went wrong here'))
        .finally(() => {
          this.underWay -= 1;
          if (giveBack) giveBack();
          else this.refused -= 1;
        });
      this.text = ''; // it has been read, or never will be
      this.isAtCapacity = false;
    });
  }

  /** Bounds what a message takes until it is whole, as its parser keeps it where nothing else counts it. */
  private countUnfinished(chunkBytes: number): void {
    this.unfinished.add(chunkBytes);
    const { cost } = this.unfinished;
    if (!this.principal) {
      if (cost > MAX_UNFINISHED_INIT_BYTES) this.stopReading(CLOSE.tooBig, 'Too large');
    } else if (!this.reserve(cost <= MAX_UNCOUNTED_BYTES ? 0 : cost)) {
      this.stopReading(CLOSE.tryAgainLater, 'Too many large messages are being sent');
    }
  }

  /** Takes or gives back room until so many bytes are taken; false when there is not as much. */
  private reserve(bytes: number): boolean {
    const { reserved } = this;
    if (reserved.bytes === 0) reserved.sender = this.principal?.subject ?? '';
    const more = bytes - reserved.bytes;
    if (more > 0 && !this.capacity.acquire(reserved.sender, more)) return false;
    if (more < 0) this.capacity.release(reserved.sender, -more);
    reserved.bytes = bytes;
    return true;
  }

  /** Closes, and takes nothing more meanwhile. */
  private stopReading(code: number, reason: string): void {
    this.close(code, reason);
    this.request.socket.pause();
  }

  /** Takes memory for a message and what is made of it, and gives what gives it back; undefined when there is none. */
  private capacityFor(message: Buffer): (() => void) | undefined {
    const sender = this.principal?.subject;
    if (sender === undefined || message.length <= SMALL_MESSAGE_BYTES) return NOTHING_TAKEN;
    const bytes = estimateParsedBytes(message);
    if (!this.capacity.acquire(sender, bytes)) return undefined;
    return () => this.capacity.release(sender, bytes);
  }

  /**
   * Runs a query or mutation once few others run here and the other side has taken what they answered: one that does
   * not read holds no more than that. @throws the reason of the signal.
   */
  async inOrder<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const removeListener = onAbort(signal, () => this.wake());
    while (!this.hasCapacity && !signal.aborted) {
      await new Promise<void>((resolve) => this.waiting.add(resolve));
    }
    removeListener();
    signal.throwIfAborted();
    this.running += 1;
    try {
      return await work();
    } finally {
      this.running -= 1;
      setImmediate(() => this.wake()); // by then the answer is among what waits to be taken
    }
  }

  private get hasCapacity(): boolean {
    return this.running < MAX_RUNNING && this.socket.bufferedAmount <= MAX_BUFFERED_BYTES;
  }

  /** Has all who wait look again. */
  private wake(): void {
    for (const resolve of this.waiting) resolve();
    this.waiting.clear();
  }

  /** Resolves when the text has left for the other side: who waits for that sends no faster than it is taken. */
  send(text: string): Promise<void> {
    if (!this.isOpen) return Promise.resolve();
    return new Promise((resolve) => {
      this.socket.send(restoreNumbers(text), () => {
        resolve();
        const { isPaused, bufferedAmount } = this.socket;
        if (bufferedAmount > MAX_BUFFERED_BYTES) return;
        if (isPaused) this.socket.resume();
        this.wake();
      });
      if (this.socket.bufferedAmount > MAX_BUFFERED_BYTES) this.socket.pause();
    });
  }

  /** From now on it belongs to this principal, until its token holds no longer. */
  admit(principal: Principal, tokens: Pick<TokenLife, 'watch'>): void {
    this.principal = principal;
    this.request.principal = principal; // whom the log names
    this.stopWatching = tokens.watch(principal, (reason) => {
      this.over.abort(reason);
      this.closeExpired(performance.now() + CLOSE_WAIT_MS);
    });
  }

  /** Lets queries and mutations under way be answered, until `deadlineMs` (of performance.now()) at the latest, and says goodbye. */
  leave(deadlineMs: number): void {
    this.isLeaving = true;
    if (this.answering === 0 || performance.now() >= deadlineMs) {
      return this.close(CLOSE.goingAway, 'Going away');
    }
    setTimeout(() => this.leave(deadlineMs), LINGER_POLL_MS).unref();
  }

  /** Says goodbye, and cuts it when the other side does not. */
  close(code: number, reason: string): void {
    this.socket.close(code, reason);
    if (this.socket.isPaused) this.socket.resume(); // to read the goodbye
    setTimeout(() => this.socket.terminate(), CLOSE_WAIT_MS).unref();
  }

  private noteLife(): void {
    this.checksLeft = Math.max(1, this.checksLeft);
  }

  /** What is under way tells its end first. */
  private closeExpired(deadlineMs: number): void {
    if (this.underWay === 0 || performance.now() >= deadlineMs) {
      return this.close(CLOSE.unauthorized, 'Unauthorized');
    }
    setTimeout(() => this.closeExpired(deadlineMs), LINGER_POLL_MS).unref();
  }

  /** Slow is not silent: a ping waits behind what was sent before it, and is answered once that has been read. */
  private checkAlive(): void {
    const waiting = this.socket.bufferedAmount;
    const taken = takenBytes(this.request.socket);
    const more = taken - this.before.taken;
    if (more > (this.before.waiting > 0 ? 0 : MUCH_BYTES)) this.checksLeft = CHECKS_TO_READ;
    if (this.checksLeft === 0) return this.socket.terminate();
    this.checksLeft -= 1;
    this.before = { waiting, taken };
    if (this.isOpen) this.socket.ping();
  }
}
