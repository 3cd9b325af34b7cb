import { applyDecorators, SetMetadata, type Type, UseInterceptors } from '@nestjs/common';
import type { CachedRead } from './cached-read';
import { CACHED, CachingInterceptor } from './caching.interceptor';

/**
 * Caches the responses of this GET handler by the provider `read`. The handler only declares route, parameters and
 * documentation; it is never called.
 */
export const Cached = (read: Type<CachedRead>): MethodDecorator =>
  applyDecorators(SetMetadata(CACHED, read), UseInterceptors(CachingInterceptor));
