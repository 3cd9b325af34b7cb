import { NO_STORE, type OperationDescription } from '../http/operation.openapi';
import {
  CacheCountsDto,
  CacheInvalidationDto,
  CacheStatisticsDto,
  WarmupResultDto,
} from './dto/responses.dto';
import { WarmupDto } from './dto/requests.dto';

const text = (description: string, example: string) => ({
  description,
  schema: { type: 'string', example },
});

const CACHED_HEADERS = {
  'X-Cache': {
    description:
      '`HIT`: kept from before, and still what the database would say (or as old as `max-stale` allowed). `MISS`: read now. `BYPASS`: read now, as the ' +
      'request or the settings wanted no kept answer.',
    schema: { type: 'string', enum: ['HIT', 'MISS', 'BYPASS'] },
  },
  ETag: text('Strong validator of exactly these bytes.', '"pZGm1Av0IEBKARczz7exkNYs"'),
  'Cache-Control': text(
    '`max-age` is how long the service keeps an answer that no event changes. `no-cache`: a client may keep it too, ' +
      'but has to ask each time whether it still holds, as it cannot know of new events.',
    'private, max-age=60, no-cache',
  ),
  Age: text('Seconds since the answer was read. Absent when it is not kept.', '12'),
  Vary: text('What else the answer depends on.', 'Authorization, Accept-Encoding'),
};

/** Parts of the description of a cached read. */
export const CACHED_READ = {
  requestHeaders: {
    'If-None-Match': {
      description: 'The `ETag` of an answer that you have: 304 without a body while it holds.',
      schema: { type: 'string' },
    },
    'Cache-Control': {
      description:
        '`no-cache`: answer from the database, and keep that. `no-store`: do not keep it either. `max-age=N`: nothing ' +
        'read longer ago. `max-stale=N`: an answer that was the present one within the last N seconds will do.',
      schema: { type: 'string', example: 'no-cache' },
    },
  },
  responseHeaders: CACHED_HEADERS,
  notModified: {
    description: 'What you have (`If-None-Match`) still holds.',
    headers: CACHED_HEADERS,
  },
};

export const SHOW_STATISTICS: OperationDescription = {
  summary: 'Show how the cache does',
  description:
    'Counted by the replica that answers, since it started. A process without requests has a ratio of 0.',
  models: [CacheCountsDto],
  responses: {
    200: { description: 'The statistics.', type: CacheStatisticsDto, headers: NO_STORE },
  },
};

export const REMOVE_ENTRIES: OperationDescription = {
  summary: 'Remove entries',
  description:
    'On every replica and in Redis. Answers are exact without it: this frees memory, or makes a measurement cold. ' +
    'Only entries wholly about organizations of your token are removed.',
  responses: { 200: { description: 'Removed.', type: CacheInvalidationDto, headers: NO_STORE } },
};

export const WARM_UP: OperationDescription = {
  summary: 'Read ahead what readers will ask for',
  description:
    'The newest pages of each organization as far back as `preloadDays`, under the keys that readers use. Answered ' +
    'when it is done; what is not reached within 20 seconds counts as failed.',
  body: { type: WarmupDto, required: false, description: 'What to read. May be left out.' },
  responses: { 200: { description: 'Done.', type: WarmupResultDto, headers: NO_STORE } },
  errors: ['MALFORMED_JSON', 'REQUEST_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'],
};
