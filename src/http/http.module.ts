import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { AuthModule } from '../auth/auth.module';
import { EventLoopYielder } from '../platform/runtime/event-loop-yielder';
import { Lifecycle } from '../platform/runtime/lifecycle';
import { BodyMemoryLimiter } from './body-memory-limiter';
import { BodyReader } from './body-reader';
import { FastRoutes } from './fast-routes';
import { LifecycleHealthIndicator } from './lifecycle.health';
import { ResponseMemory } from './response-memory';

const PROVIDERS = [
  FastRoutes,
  BodyReader,
  Lifecycle,
  LifecycleHealthIndicator,
  EventLoopYielder,
  // Limits are shares of this process's heap.
  { provide: BodyMemoryLimiter, useFactory: () => new BodyMemoryLimiter() },
  { provide: ResponseMemory, useFactory: () => new ResponseMemory() },
];

/** Shared parts of the HTTP server. */
@Module({ imports: [AuthModule, TerminusModule], providers: PROVIDERS, exports: PROVIDERS })
export class HttpModule {}
