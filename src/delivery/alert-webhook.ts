import { Inject, Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { Subscription } from 'rxjs';
import { onAbort } from '../platform/runtime/abort';
import { wallClockMs } from '../platform/runtime/clocks';
import { monitoringConfig } from '../platform/config/monitoring.config';
import { AlertState } from '../metrics/alert-state';
import { alertSignature } from './signature';
import type { PerformanceAlertDto } from '../metrics/dto/responses.dto';
import { MetricRegistry } from '../metrics/metrics.registry';

const TIMEOUT_MS = 5000;
const ATTEMPTS = 8;
const FIRST_DELAY_MS = 500;
/** Eight attempts then spread over about a minute: a receiver that restarts gets its alerts. */
const LONGEST_DELAY_MS = 30_000;
/** Alerts that wait for a receiver that is away; then the oldest are given up. */
const MAX_WAITING = 100;
const MS_PER_SECOND = 1000;

interface Delivery {
  id: string;
  body: string;
}

/** Where alerts go, and what it wants to see besides. */
interface Target {
  url: string;
  headers: Record<string, string>;
}

/**
 * Posts each alert, when it is raised and when it is over, to ALERT_WEBHOOK_URL. In order, one at a time, and beside
 * everything else: nobody waits for it. What is posted is the alert as /performance/alerts shows it.
 */
@Injectable()
export class AlertWebhook implements OnApplicationShutdown {
  private readonly logger = new Logger('AlertWebhook');
  private readonly target: Target | undefined;
  private readonly secret: string | undefined;
  private readonly subscription: Subscription | undefined;
  private readonly closing = new AbortController();
  private readonly counts = { delivered: 0, failed: 0, dropped: 0 };
  private waiting: Delivery[] = [];
  private isSending = false;

  constructor(
    @Inject(monitoringConfig.KEY) config: ConfigType<typeof monitoringConfig>,
    board: AlertState,
    registry: MetricRegistry,
  ) {
    this.target =
      config.alertWebhookUrl === undefined ? undefined : targetOf(config.alertWebhookUrl);
    this.secret = config.alertWebhookSecret;
    if (this.target !== undefined) {
      this.subscription = board.changes().subscribe((alert) => this.enqueue(alert));
    }
    registry.register(
      {
        name: 'alert_webhook_deliveries_total',
        help: 'Alerts posted to ALERT_WEBHOOK_URL: delivered, given up after all attempts, or dropped unsent.',
        type: 'counter',
      },
      () => Object.entries(this.counts).map(([outcome, value]) => ({ labels: { outcome }, value })),
    );
  }

  onApplicationShutdown(): void {
    this.subscription?.unsubscribe();
    this.closing.abort();
  }

  private enqueue(alert: PerformanceAlertDto): void {
    this.waiting.push({ id: alert.id, body: JSON.stringify(alert) });
    if (this.waiting.length > MAX_WAITING) {
      this.waiting.shift();
      this.counts.dropped += 1;
    }
    if (this.isSending) return;
    this.isSending = true;
    this.sendAll()
      .catch((error: unknown) => this.logger.error(`Posting alerts failed: ${faultName(error)}`))
      .finally(() => {
        this.isSending = false;
      });
  }

  private async sendAll(): Promise<void> {
    for (let next = this.waiting.shift(); next; next = this.waiting.shift()) {
      await this.send(next);
      if (this.closing.signal.aborted) return;
    }
  }

  /** Tries again after a network fault, 408, 425, 429 and 5xx; other refusals will not change by asking again. */
  private async send(delivery: Delivery): Promise<void> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      const outcome = await this.post(delivery);
      if (this.closing.signal.aborted) return;
      if (outcome === 'delivered') {
        this.counts.delivered += 1;
        return;
      }
      this.logger.warn(`Attempt ${attempt} to post alert ${delivery.id}: ${outcome.reason}.`);
      if (outcome.isFinal) break;
      if (attempt < ATTEMPTS) await this.pause(attempt);
    }
    this.counts.failed += 1;
    this.logger.error(`Alert ${delivery.id} was not delivered to ALERT_WEBHOOK_URL.`);
  }

  private async post({ id, body }: Delivery) {
    const timestampSeconds = Math.floor(wallClockMs() / MS_PER_SECOND);
    const headers: Record<string, string> = {
      'Content-Type': 'application/json',
      'User-Agent': 'audit-server',
      'X-Audit-Alert-Id': id,
      ...this.target?.headers,
    };
    if (this.secret !== undefined) {
      headers['X-Audit-Signature'] = alertSignature(this.secret, timestampSeconds, body);
    }
    try {
      const response = await fetch(this.target?.url ?? '', {
        method: 'POST',
        headers,
        body,
        redirect: 'manual', // a signed alert goes where it was meant to go
        signal: AbortSignal.any([this.closing.signal, AbortSignal.timeout(TIMEOUT_MS)]),
      });
      await response.body?.cancel();
      return response.ok ? ('delivered' as const) : refusal(response.status);
    } catch (error) {
      return { reason: faultName(error), isFinal: false };
    }
  }

  /** Doubled at each attempt and scattered, so that replicas do not all come back at once. */
  private async pause(attempt: number): Promise<void> {
    const longestMs = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (attempt - 1));
    const delayMs = longestMs * (0.5 + Math.random() / 2);
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        removeListener();
        resolve();
      };
      const timer = setTimeout(done, delayMs).unref();
      const removeListener = onAbort(this.closing.signal, done);
    });
  }
}

/** `fetch` refuses a URL with user and password in it: they go as HTTP's basic authentication. */
function targetOf(text: string): Target {
  const url = new URL(text);
  const credentials = [url.username, url.password].map(decodeURIComponent).join(':');
  url.username = url.password = '';
  if (credentials === ':') return { url: url.href, headers: {} };
  const encoded = Buffer.from(credentials).toString('base64');
  return { url: url.href, headers: { Authorization: `Basic ${encoded}` } };
}

function refusal(status: number): { reason: string; isFinal: boolean } {
  const isFinal = status < 500 && ![408, 425, 429].includes(status);
  return { reason: `answered ${status}`, isFinal };
}

/** What kind of fault; messages of fetch can hold the URL, whose path may be a secret. */
function faultName(error: unknown): string {
  const cause = (error as { cause?: { code?: unknown } }).cause?.code;
  if (typeof cause === 'string') return cause;
  return error instanceof Error ? error.name : 'unknown';
}
