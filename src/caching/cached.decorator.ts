import { applyDecorators, SetMetadata, type Type, UseInterceptors } from '@nestjs/common';
import type { CachedRead } from './cached-read';
import { CachingInterceptor } from './caching.interceptor';
import { CACHED } from './cached-metadata';

/**
 * Answers of this GET handler are cached as `read` (a provider) says, on the fast path and on the ordinary one. The handler
 * declares route, parameters and description; it is never called.
 */
export const Cached = (read: Type<CachedRead>): MethodDecorator =>
  applyDecorators(SetMetadata(CACHED, read), UseInterceptors(CachingInterceptor));
