import { createClient, ErrorReply, type RedisClientType } from '@redis/client';
import { TIMED_OUT, withTimeout } from '../runtime/deadline';

const CONNECT_TIMEOUT_MS = 500;
/** From connected to usable: the kernel still connects to a stopped process, which answers nothing. */
const READY_TIMEOUT_MS = 1000;
const FIRST_RETRY_MS = 50;
const MAX_RETRY_MS = 1000;

/** The outcome of a PING: an error, as while Redis loads its data, or `silent` without an answer. */
type PingOutcome = 'answered' | 'silent' | ErrorReply;

/**
 * A client that a silent server cannot hold up. @redis/client reconnects when a socket breaks, but waits for ever for a
 * silent one, and `disconnect()` leaves a connecting one alone. So each socket has an abort signal, which breaks it in
 * whatever state it is. Pending commands are rejected then, so that no late answer is taken for that of another
 * command.
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

  /**
   * A client of its own to `url`, or with the settings of `original`. Call `connect`, and listen to `ready` and
   * `error`.
   */
  constructor(origin: { url: string } | { original: RedisClientType }) {
    this.socket.signal = this.socketControl.signal;
    this.client =
      'original' in origin
        ? origin.original.duplicate({ socket: this.socket })
        : createClient({ url: origin.url, disableOfflineQueue: true, socket: this.socket });
    this.client
      .on('connect', () => this.expectReady())
      .on('ready', () => clearTimeout(this.readyDeadline))
      .on('error', () => clearTimeout(this.readyDeadline)); // without a listener it would end the process
  }

  /** Connects, and again whenever the connection is lost, until `close`. Events report the outcome. */
  connect(): void {
    this.client.connect().catch(() => undefined);
  }

  /** Sends a PING. A socket that does not answer within `timeoutMs` is broken, and the client connects anew. */
  async ping(timeoutMs: number): Promise<PingOutcome> {
    try {
      if ((await withTimeout(this.client.ping(), timeoutMs)) !== TIMED_OUT) return 'answered';
      this.breakSocket();
      return 'silent';
    } catch (error) {
      return error instanceof ErrorReply ? error : 'silent';
    }
  }

  /** Ends the socket at once; the client connects anew. */
  breakSocket(): void {
    this.socketControl.abort();
  }

  /** Ends it for good, at once. Pending commands are rejected. */
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

  /**
   * Called before each new socket. Milliseconds, doubled at each try, with jitter so that replicas do not reconnect in
   * step.
   */
  private delayBefore(retries: number): number | false {
    if (this.isClosed) return false;
    this.socketControl = new AbortController();
    this.socket.signal = this.socketControl.signal;
    const longestMs = Math.min(FIRST_RETRY_MS * 2 ** retries, MAX_RETRY_MS);
    return longestMs * (0.5 + Math.random() / 2);
  }
}
