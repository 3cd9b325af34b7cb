import { Module } from '@nestjs/common';
import { Exporter } from './exporter';

/** Exports of any size. */
@Module({ providers: [Exporter], exports: [Exporter] })
export class StreamingModule {}
