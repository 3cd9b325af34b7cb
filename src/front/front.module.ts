import { Global, Module } from '@nestjs/common';
import { JsonBodyInterceptor } from './json-body.interceptor';
import { Lifecycle } from './lifecycle';

/** What stands before the handlers of every route: body reading and the phase of the process. */
@Global()
@Module({
  providers: [JsonBodyInterceptor, Lifecycle],
  exports: [JsonBodyInterceptor, Lifecycle],
})
export class FrontModule {}
