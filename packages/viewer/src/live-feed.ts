import { ApiError, type AuditApi, type ViewerEvent } from './audit-api';

/** Pauses before a further connection, in milliseconds. */
const PAUSES_MS = [500, 1000, 2000, 5000, 10_000];
/** Events are handed on together: with hundreds a second a list that changes at each would be busy with that. */
const BATCH_MS = 200;

interface FeedListener {
  /** Following has begun, for the first time: what is recorded from now on comes. */
  begun: () => void;
  /** Events in the order of their recording. */
  arrived: (events: ViewerEvent[]) => void;
  /** True while the connection is open. */
  connected: (isConnected: boolean) => void;
  /** The service refuses: the feed has ended. */
  refused: (error: ApiError) => void;
}

/** Follows the events of a filter, and connects again where a connection breaks, without a gap. */
export class LiveFeed {
  private readonly controller = new AbortController();
  private batch: ViewerEvent[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly api: AuditApi,
    private readonly filter: URLSearchParams,
    private readonly listener: FeedListener,
  ) {
    this.run().catch(() => undefined); // stopped
  }

  stop(): void {
    this.controller.abort();
    clearTimeout(this.timer);
  }

  private async run(): Promise<void> {
    const { signal } = this.controller;
    let after: string | undefined;
    let hasBegun = false;
    let failures = 0;
    while (!signal.aborted) {
      try {
        await this.api.follow(this.filter, after, signal, {
          opened: () => {
            failures = 0;
            this.listener.connected(true);
            if (!hasBegun) this.listener.begun();
            hasBegun = true;
          },
          event: (event) => this.take(event),
          position: (id) => (after = id),
        });
      } catch (error) {
        if (signal.aborted || !(error instanceof ApiError)) return;
        if (error.code === 'TIMELINE_CHANGED') after = undefined;
        else if ([400, 401, 403].includes(error.status)) return this.listener.refused(error);
      }
      this.listener.connected(false);
      await pause(PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)] ?? 0, signal);
      failures += 1;
    }
  }

  private take(event: ViewerEvent): void {
    this.batch.push(event);
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      const events = this.batch;
      this.batch = [];
      this.listener.arrived(events);
    }, BATCH_MS);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
