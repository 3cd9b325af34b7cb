import { applyDecorators, UseInterceptors } from '@nestjs/common';
import { LargeBodyInterceptor } from '../../concurrency/large-body.interceptor';
import { LimitConcurrency } from '../../concurrency/limit-concurrency.decorator';
import { BodyBytesInterceptor, JsonBodyInterceptor } from '../../http/json-body.interceptor';
import { BulkSizeInterceptor } from './bulk-size.interceptor';
import { NdjsonInterceptor } from './ndjson.interceptor';

/**
 * Reads the body of a bulk request. The order of the steps matters:
 *
 * 1. NDJSON takes the request over: it reads its body line by line, with limits of its own.
 * 2. The bytes are read. A client that sends slowly holds no permit meanwhile, and what waits for one is no larger than
 *    its text: parsed values take several times as much.
 * 3. A large body waits for its permit among the large ones, while it holds none of the ordinary permits.
 * 4. The request waits for its ordinary permit.
 * 5. The bytes are parsed, and the number of events is checked before each of them is validated.
 */
export function BulkBody(): MethodDecorator {
  return applyDecorators(
    UseInterceptors(NdjsonInterceptor, BodyBytesInterceptor, LargeBodyInterceptor),
    LimitConcurrency(),
    UseInterceptors(JsonBodyInterceptor, BulkSizeInterceptor),
  );
}
