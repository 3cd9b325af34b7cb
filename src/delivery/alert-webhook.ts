import { Inject, Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { Subscription } from 'rxjs';
import { AlertState } from '../metrics/alert-state';
import type { PerformanceAlertDto } from '../metrics/dto/responses.dto';
import { labelled, MetricRegistry } from '../metrics/metrics.registry';
import { monitoringConfig } from '../platform/config/settings';
import { proxiedFetch } from '../platform/runtime/proxied-fetch';
import { SignedSender } from './signed-sender';

/** Limit of alerts that wait for a receiver; beyond it the oldest is dropped. */
const MAX_WAITING = 100;

/**
 * Posts alerts to ALERT_WEBHOOK_URL in the background, in order and one at a time: each as /performance/alerts shows it,
 * when it is raised and when it ends.
 */
@Injectable()
export class AlertWebhook implements OnApplicationShutdown {
  private readonly logger = new Logger('AlertWebhook');
  private readonly subscription: Subscription | undefined;
  private readonly closing = new AbortController();
  private readonly counts = { delivered: 0, failed: 0, dropped: 0 };
  private readonly waiting: { id: string; body: string }[] = [];
  private isSending = false;

  constructor(
    @Inject(monitoringConfig.KEY) config: ConfigType<typeof monitoringConfig>,
    alerts: AlertState,
    registry: MetricRegistry,
  ) {
    const { alertWebhookUrl: url, alertWebhookSecret: secret } = config;
    if (url !== undefined) {
      const sender = new SignedSender(url, secret, this.closing.signal, proxiedFetch(config.proxy));
      this.subscription = alerts.changes().subscribe((alert) => this.enqueue(alert, sender));
    }
    registry.counter(
      'audit_alert_webhook_deliveries_total',
      'Alerts posted to ALERT_WEBHOOK_URL: delivered, given up after all attempts, or dropped unsent.',
      () => labelled('outcome', this.counts),
    );
  }

  onApplicationShutdown(): void {
    this.subscription?.unsubscribe();
    this.closing.abort();
  }

  private enqueue(alert: PerformanceAlertDto, sender: SignedSender): void {
    this.waiting.push({ id: alert.id, body: JSON.stringify(alert) });
    if (this.waiting.length > MAX_WAITING) {
      this.waiting.shift();
      this.counts.dropped += 1;
    }
    if (this.isSending) return;
    this.isSending = true;
    this.sendAll(sender)
      .catch(() => this.logger.error('Alerts could not be posted.'))
      .finally(() => {
        this.isSending = false;
      });
  }

  private async sendAll(sender: SignedSender): Promise<void> {
    for (let next = this.waiting.shift(); next; next = this.waiting.shift()) {
      const { id, body } = next;
      const message = { headers: { 'X-Audit-Alert-Id': id }, body };
      const isDelivered = await sender.send(message, (attempt, reason) =>
        this.logger.warn(`Attempt ${attempt} to post alert ${id}: ${reason}.`),
      );
      if (this.closing.signal.aborted) return;
      this.counts[isDelivered ? 'delivered' : 'failed'] += 1;
      if (!isDelivered) this.logger.error(`Alert ${id} was not delivered to ALERT_WEBHOOK_URL.`);
    }
  }
}
