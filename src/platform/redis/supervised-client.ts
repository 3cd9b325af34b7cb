import { createClient, ErrorReply, type RedisClientType } from '@redis/client';
import { TIMED_OUT, withTimeout } from '../runtime/deadline';

const CONNECT_TIMEOUT_MS = 500;
/** From connected to usable: a stopped process is still connected to by the kernel, but answers nothing. */
const READY_TIMEOUT_MS = 1000;
const FIRST_RETRY_MS = 50;
const MAX_RETRY_MS = 1000;

/** How a PING ended; with an error, as while Redis loads its data, or `silent` when there was no answer at all. */
export type PingOutcome = 'answered' | 'silent' | ErrorReply;

/**
 * A client that cannot be held up. @redis/client reconnects by itself when a socket breaks, but waits for ever for one
 * that is silent, and `disconnect()` leaves alone what is still connecting. So the sockets of each client hang on an
 * abort signal, a new one for each: aborting it breaks the socket, in whichever state it is. What was waiting for an
 * answer is rejected then, so that no late answer can be taken for that of another command.
 */
export class SupervisedClient {
  readonly client: RedisClientType;
  private readonly socket = {
    connectTimeout: CONNECT_TIMEOUT_MS,
    reconnectStrategy: (retries: number) => this.delayBefore(retries),
    signal: new AbortController().signal,
  };
  private socketControl = new AbortController();
  private readyDeadline: NodeJS.Timeout | undefined;
  private isClosed = false;

  /** Of its own to `url`, or with the settings of `original`. Call `connect`, and listen to `ready` and `error`. */
  constructor(origin: { url: string } | { original: RedisClientType }) {
    this.socket.signal = this.socketControl.signal;
    this.client =
      'original' in origin
        ? origin.original.duplicate({ socket: this.socket })
        : createClient({ url: origin.url, disableOfflineQueue: true, socket: this.socket });
    this.client
      .on('connect', () => this.expectReady())
      .on('ready', () => clearTimeout(this.readyDeadline))
      .on('error', () => clearTimeout(this.readyDeadline)); // unheard, it would end the process
  }

  /** Connects, and again whenever the connection is lost, until `close`. How that goes is told by events. */
  connect(): void {
    this.client.connect().catch(() => undefined);
  }

  /** Asks for a sign of life. A socket that gives none within `timeoutMs` is broken, and the client connects anew. */
  async ping(timeoutMs: number): Promise<PingOutcome> {
    try {
      if ((await withTimeout(this.client.ping(), timeoutMs)) !== TIMED_OUT) return 'answered';
      this.breakSocket();
      return 'silent';
    } catch (error) {
      return error instanceof ErrorReply ? error : 'silent';
    }
  }

  /** Ends the socket at once, without waiting for anybody; the client connects anew. */
  breakSocket(): void {
    this.socketControl.abort();
  }

  /** Ends it for good, at once. Commands under way are rejected. */
  close(): void {
    this.isClosed = true;
    clearTimeout(this.readyDeadline);
    if (this.client.isOpen) this.client.disconnect().catch(() => undefined);
    this.breakSocket();
  }

  private expectReady(): void {
    clearTimeout(this.readyDeadline);
    this.readyDeadline = setTimeout(() => this.breakSocket(), READY_TIMEOUT_MS).unref();
  }

  /** Asked before each new socket. Milliseconds, doubled at each try and scattered, so that replicas do not march in step. */
  private delayBefore(retries: number): number | false {
    if (this.isClosed) return false;
    this.socketControl = new AbortController();
    this.socket.signal = this.socketControl.signal;
    const longestMs = Math.min(FIRST_RETRY_MS * 2 ** retries, MAX_RETRY_MS);
    return longestMs * (0.5 + Math.random() / 2);
  }
}
