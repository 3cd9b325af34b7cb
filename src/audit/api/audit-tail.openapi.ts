import { applyDecorators } from '@nestjs/common';
import { ApiHeader, ApiResponse } from '@nestjs/swagger';
import { ApiProblems, headersWith } from '../../http/problems/problem.openapi';
import { ApiRoute, COMMON_ERRORS } from '../../http/route.openapi';

/** Documents the tail of events. */
export function ApiTail(): MethodDecorator {
  return applyDecorators(
    ApiRoute(
      'audit:read',
      'Follow events as they are recorded',
      'Server-sent events: each recorded event that the filter lets through is a message `audit.event` with the event as ' +
        'JSON, in the order of its organization’s sequence, on whichever replica it was recorded. A client that connects ' +
        'again with the last `id` (browsers do so by themselves) misses nothing and gets nothing twice. Comments keep the ' +
        'connection alive. A message `error` with a problem document ends the stream when the token expires ' +
        '(`UNAUTHENTICATED`), events are not taken as fast as they come (`SLOW_CONSUMER`), or the database has lost events ' +
        'that this stream has given (`TIMELINE_CHANGED`); an `id` from before such a loss is refused with 409. Of more than 100 organizations messages have no `id`, and the stream cannot be resumed.',
    ),
    ApiHeader({
      name: 'Last-Event-ID',
      required: false,
      description: 'The `id` of the last message that was received.',
      schema: { type: 'string', maxLength: 4096 },
    }),
    ApiResponse({
      status: 200,
      description: 'The events, for as long as somebody reads them.',
      headers: headersWith('Cache-Control'),
      content: {
        'text/event-stream': {
          schema: {
            type: 'string',
            description: 'Messages of `id`, `event` and `data`, an empty line after each.',
          },
        },
      },
    }),
    ApiProblems(...COMMON_ERRORS, 'INVALID_CURSOR', 'TIMELINE_CHANGED', 'TOO_MANY_REQUESTS'),
  );
}
