import { applyDecorators, UseInterceptors } from '@nestjs/common';
import { LargeBodyInterceptor } from '../../concurrency/large-body-limiter';
import { LimitConcurrency } from '../../concurrency/fair-scheduler';
import { BodyBytesInterceptor, JsonBodyInterceptor } from '../../http/body-reader';
import { BulkSizeInterceptor } from './bulk-size.interceptor';
import { NdjsonInterceptor } from './ndjson.interceptor';

/**
 * Reads the body of a bulk request, in this order:
 *
 * 1. NDJSON bodies leave: they are read line by line, with their own limits.
 * 2. Bytes are read without a permit, as clients may be slow; text is a fraction of its parsed values.
 * 3. A large body waits for its permit among the large ones, without an ordinary permit.
 * 4. The request waits for its ordinary permit.
 * 5. Bytes are parsed, and the number of events is checked before validation.
 */
export function BulkBody(): MethodDecorator {
  return applyDecorators(
    UseInterceptors(NdjsonInterceptor, BodyBytesInterceptor, LargeBodyInterceptor),
    LimitConcurrency(),
    UseInterceptors(JsonBodyInterceptor, BulkSizeInterceptor),
  );
}
