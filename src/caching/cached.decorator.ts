import { applyDecorators, SetMetadata, type Type, UseInterceptors } from '@nestjs/common';
import type { CachedRead } from './cached-read';
import { CachingInterceptor } from './caching.interceptor';
import { CACHED } from './cached-metadata';

/**
 * Answers of this GET handler are cached as `read` (a provider) says. A request that `read` can describe is answered
 * in front of express too; all others come to the handler, which says what is wrong with them.
 */
export const Cached = (read: Type<CachedRead>): MethodDecorator =>
  applyDecorators(SetMetadata(CACHED, read), UseInterceptors(CachingInterceptor));
