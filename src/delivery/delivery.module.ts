import { Module } from '@nestjs/common';
import { MetricsModule } from '../metrics/metrics.module';
import { AlertWebhook } from './alert-webhook';

/** Signed sending of alerts to the operator's receiver. */
@Module({ imports: [MetricsModule], providers: [AlertWebhook] })
export class DeliveryModule {}
