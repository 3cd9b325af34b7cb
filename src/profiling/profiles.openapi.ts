import { sharedHeaders, type OperationDescription } from '../http/operation.openapi';
import { InsteadOfArray, integer } from '../validation/constraints';
import { Property, WordProperty } from '../validation/dto-properties';
import { DEFAULT_SECONDS, MAX_SECONDS, PROFILE_TYPES, type ProfileType } from './profiler';

/** Body of a request for a profile. */
@InsteadOfArray('send { "type": "cpu" }')
export class ProfileDto {
  @WordProperty(PROFILE_TYPES, {
    required: true,
    description:
      '`cpu`: which code uses the processor. `allocations`: which code allocates memory. `heap`: the same without what was ' +
      'freed before the end.',
    example: 'cpu',
  })
  type!: ProfileType;

  @Property(
    integer(1, MAX_SECONDS),
    { type: 'integer', minimum: 1, maximum: MAX_SECONDS, default: DEFAULT_SECONDS },
    { description: 'How long it is taken.', example: DEFAULT_SECONDS },
  )
  seconds?: number | null;
}

export const TAKE_PROFILE: OperationDescription = {
  id: 'createProfile',
  summary: 'Take a profile of the process',
  description:
    'Of the replica that answers, whose load goes on: the response begins at once and ends with the profile, a ' +
    '`.cpuprofile` or `.heapprofile` that Chrome DevTools opens. It has names and places of functions with times or sizes: no ' +
    'token, event or query text, and no path of the machine. One at a time for each replica: a second one is `CONFLICT` with ' +
    '`Retry-After`. It ends early, with what it has, when the replica shuts down, and without a trace when the client hangs up.',
  responses: {
    200: {
      description: 'The profile, in the format of Chrome DevTools.',
      headers: {
        ...sharedHeaders('Cache-Control'),
        'Content-Disposition': {
          description: 'A file name: type, time (UTC), host and process.',
          schema: { type: 'string' },
          example:
            'attachment; filename="audit-server_cpu_20261130T201500Z_host-1_4711.cpuprofile"',
        },
      },
      content: { 'application/json': { schema: { type: 'object', additionalProperties: true } } },
    },
  },
  errors: ['MALFORMED_JSON', 'UNSUPPORTED_MEDIA_TYPE', 'REQUEST_TOO_LARGE', 'CONFLICT'],
};
