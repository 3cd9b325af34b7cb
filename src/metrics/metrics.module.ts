import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { AlertState } from './alert-state';
import { AlertFeed } from './alert-feed';
import { AlertMonitor } from './alert-monitor';
import { ClockWatch } from './clock-watch';
import { EventLoopDelay } from './event-loop-delay';
import { MeasurementSources } from './measurement-sources';
import { MetricsFeed } from './metrics-feed';
import { MetricsListener } from './metrics.listener';
import { MetricRegistry } from './metrics.registry';
import { PerformanceController } from './performance.controller';
import { PerformanceHealth } from './performance-health';
import { PerformanceReport } from './performance.report';
import { ProcessHealthIndicator } from './process.health';
import { ProcessMetrics } from './process.metrics';
import { PrometheusController } from './prometheus.controller';
import { RequestRecorder } from './request-recorder';

/** What the service knows about itself. Capabilities offer their figures to MetricRegistry and MeasurementSources. */
@Module({
  imports: [TerminusModule],
  controllers: [PerformanceController, PrometheusController],
  providers: [
    AlertState,
    AlertFeed,
    MetricsFeed,
    AlertMonitor,
    ClockWatch,
    EventLoopDelay,
    MeasurementSources,
    MetricsListener,
    MetricRegistry,
    PerformanceHealth,
    PerformanceReport,
    ProcessHealthIndicator,
    ProcessMetrics,
    RequestRecorder,
  ],
  exports: [
    AlertState,
    AlertFeed,
    MetricsFeed,
    MeasurementSources,
    MetricsListener,
    MetricRegistry,
    PerformanceHealth,
    PerformanceReport,
    ProcessHealthIndicator,
    RequestRecorder,
  ],
})
export class MetricsModule {}
