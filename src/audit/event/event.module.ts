import { Module } from '@nestjs/common';
import { LogTimeline } from './log-timeline';

/** What all parts of the domain share: the event itself, and the history of each organization's log. */
@Module({ providers: [LogTimeline], exports: [LogTimeline] })
export class EventModule {}
