import { Global, Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { AlertBoard } from './alert-state';
import { AlertFeed } from './alert-feed';
import { AlertMonitor } from './alert-monitor';
import { AlertWebhook } from '../delivery/alert-webhook';
import { ClockWatch } from './clock-watch';
import { EventLoopDelay } from './event-loop-delay';
import { MetricSources } from './measurement-sources';
import { MetricsFeed } from './metrics-feed';
import { MetricsListener } from './metrics.listener';
import { MetricsRegistry } from './metrics.registry';
import { PerformanceController } from './performance.controller';
import { PerformanceHealth } from './performance-health';
import { PerformanceReport } from './performance.report';
import { ProcessHealthIndicator } from './process.health';
import { ProcessMetrics } from './process.metrics';
import { PrometheusController } from './prometheus.controller';
import { RequestRecorder } from './request-recorder';

/** What the service knows about itself. Capabilities offer their figures to MetricsRegistry and MetricSources. */
@Global()
@Module({
  imports: [TerminusModule],
  controllers: [PerformanceController, PrometheusController],
  providers: [
    AlertBoard,
    AlertFeed,
    MetricsFeed,
    AlertMonitor,
    AlertWebhook,
    ClockWatch,
    EventLoopDelay,
    MetricSources,
    MetricsListener,
    MetricsRegistry,
    PerformanceHealth,
    PerformanceReport,
    ProcessHealthIndicator,
    ProcessMetrics,
    RequestRecorder,
  ],
  exports: [
    AlertBoard,
    AlertFeed,
    MetricsFeed,
    MetricSources,
    MetricsListener,
    MetricsRegistry,
    PerformanceHealth,
    PerformanceReport,
    ProcessHealthIndicator,
    RequestRecorder,
  ],
})
export class MetricsModule {}
