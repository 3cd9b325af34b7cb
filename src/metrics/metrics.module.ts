import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { AlertState } from './alert-state';
import { AlertMonitor } from './alert-monitor';
import { ClockWatch } from './clock-watch';
import { EventLoopDelay, ProcessMetrics } from './process.metrics';
import { MeasurementSources } from './measurement-sources';
import { MetricsListener, PrometheusController } from './prometheus.controller';
import { MetricRegistry } from './metrics.registry';
import { PerformanceController } from './performance.controller';
import { PerformanceHealth } from './performance-health';
import { PerformanceReport } from './performance.report';
import { ProcessHealthIndicator } from './process.health';
import { RequestRecorder } from './request-recorder';

/** Metrics, reports and alerts. Capabilities register their figures with MetricRegistry and MeasurementSources. */
@Module({
  imports: [TerminusModule],
  controllers: [PerformanceController, PrometheusController],
  providers: [
    AlertState,
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
