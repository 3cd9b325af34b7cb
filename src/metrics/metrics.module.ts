import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { AlertState } from './alert-state';
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

/** Metrics, reports and alerts. Capabilities register their figures with MetricRegistry and MeasurementSources. */
@Module({
  imports: [TerminusModule],
  controllers: [PerformanceController, PrometheusController],
  providers: [
    AlertState,
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
