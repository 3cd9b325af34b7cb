import { NO_STORE, type OperationDescription } from '../../http/operation.openapi';

export const TAIL_EVENTS: OperationDescription = {
  summary: 'Follow events as they are recorded',
  description:
    'Server-sent events: each recorded event that the filter lets through is a message `audit.event` with the event as ' +
    'JSON, in the order of its organization’s sequence, on whichever replica it was recorded. A client that connects ' +
    'again with the last `id` (browsers do so by themselves) misses nothing and gets nothing twice. Comments keep the ' +
    'connection alive. A message `error` with a problem document ends the stream when the token expires ' +
    '(`UNAUTHENTICATED`), events are not taken as fast as they come (`SLOW_CONSUMER`), or the database has lost events ' +
    'that this stream has given (`TIMELINE_CHANGED`); an `id` from before such a loss is refused with 409. Of more than 100 organizations messages have no `id`, and the stream cannot be resumed.',
  requestHeaders: {
    'Last-Event-ID': {
      description: 'The `id` of the last message that was received.',
      schema: { type: 'string', maxLength: 4096 },
    },
  },
  responses: {
    200: {
      description: 'The events, for as long as somebody reads them.',
      headers: NO_STORE,
      content: {
        'text/event-stream': {
          schema: {
            type: 'string',
            description: 'Messages of `id`, `event` and `data`, an empty line after each.',
          },
        },
      },
    },
  },
  errors: ['INVALID_CURSOR', 'TIMELINE_CHANGED', 'TOO_MANY_REQUESTS'],
};
