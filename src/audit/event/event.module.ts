import { Module } from '@nestjs/common';
import { LogTimeline } from './log-timeline';

/** The event, and the history of each organization's log. */
@Module({ providers: [LogTimeline], exports: [LogTimeline] })
export class EventModule {}
