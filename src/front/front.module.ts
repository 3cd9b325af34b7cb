import { Global, Module } from '@nestjs/common';
import { HotRoutes } from './hot-routes';
import { JsonBodyInterceptor } from './json-body.interceptor';
import { Lifecycle } from './lifecycle';

/** What stands before the handlers of every route: body reading and the phase of the process. */
@Global()
@Module({
  providers: [HotRoutes, JsonBodyInterceptor, Lifecycle],
  exports: [HotRoutes, JsonBodyInterceptor, Lifecycle],
})
export class FrontModule {}
