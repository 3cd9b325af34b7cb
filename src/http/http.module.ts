import { Global, Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { AuthModule } from '../auth/auth.module';
import { AnswerMemory } from './response-memory';
import { BodyBudget } from './body-memory-limiter';
import { HotRoutes } from './fast-routes';
import { JsonBodyInterceptor } from './json-body.interceptor';
import { Lifecycle } from '../platform/runtime/lifecycle';
import { LifecycleHealthIndicator } from './lifecycle.health';
import { LoopPortions } from '../platform/runtime/event-loop-yielder';

/** By the heap of this process. */
const BODY_BUDGET = { provide: BodyBudget, useFactory: () => new BodyBudget() };
const ANSWER_MEMORY = { provide: AnswerMemory, useFactory: () => new AnswerMemory() };

/** What stands before the handlers of every route: body reading and the phase of the process. */
@Global()
@Module({
  imports: [AuthModule, TerminusModule],
  providers: [
    BODY_BUDGET,
    ANSWER_MEMORY,
    HotRoutes,
    JsonBodyInterceptor,
    Lifecycle,
    LifecycleHealthIndicator,
    LoopPortions,
  ],
  exports: [
    HotRoutes,
    BodyBudget,
    AnswerMemory,
    JsonBodyInterceptor,
    Lifecycle,
    LifecycleHealthIndicator,
    LoopPortions,
  ],
})
export class FrontModule {}
