import { Module } from '@nestjs/common';
import { Exporter } from './exporter';
import { StreamingMetrics } from './streaming.metrics';

/** Exports of any size. */
@Module({ providers: [Exporter, StreamingMetrics], exports: [Exporter] })
export class StreamingModule {}
