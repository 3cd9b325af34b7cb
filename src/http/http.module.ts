import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { AuthModule } from '../auth/auth.module';
import { ResponseMemory } from './response-memory';
import { BodyMemoryLimiter } from './body-memory-limiter';
import { FastRoutes } from './fast-routes';
import { JsonBodyInterceptor } from './json-body.interceptor';
import { Lifecycle } from '../platform/runtime/lifecycle';
import { LifecycleHealthIndicator } from './lifecycle.health';
import { EventLoopYielder } from '../platform/runtime/event-loop-yielder';

/** By the heap of this process. */
const BODY_BUDGET = { provide: BodyMemoryLimiter, useFactory: () => new BodyMemoryLimiter() };
const RESPONSE_MEMORY = { provide: ResponseMemory, useFactory: () => new ResponseMemory() };

/** What stands before the handlers of every route: body reading and the phase of the process. */
@Module({
  imports: [AuthModule, TerminusModule],
  providers: [
    BODY_BUDGET,
    RESPONSE_MEMORY,
    FastRoutes,
    JsonBodyInterceptor,
    Lifecycle,
    LifecycleHealthIndicator,
    EventLoopYielder,
  ],
  exports: [
    FastRoutes,
    BodyMemoryLimiter,
    ResponseMemory,
    JsonBodyInterceptor,
    Lifecycle,
    LifecycleHealthIndicator,
    EventLoopYielder,
  ],
})
export class HttpModule {}
