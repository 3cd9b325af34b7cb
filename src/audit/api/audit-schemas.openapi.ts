import type { ApiParamOptions } from '@nestjs/swagger';
import { NO_STORE, type OperationDescription } from '../../http/operation.openapi';
import { MAX_NAME_LENGTH, MAX_VERSION_LENGTH } from '../event/audit-event';
import {
  RegisterSchemaDto,
  SchemaDto,
  SchemaListDto,
  SchemaModeDto,
  SchemaSettingDto,
} from '../schemas/dto/schemas.dto';

const PARAMETERS: ApiParamOptions[] = [
  {
    name: 'action',
    description: 'The action, percent-encoded.',
    schema: {
      type: 'string',
      minLength: 1,
      maxLength: MAX_NAME_LENGTH,
      example: 'fhirPatientRead',
    },
  },
  {
    name: 'version',
    description: 'The version, percent-encoded.',
    schema: { type: 'string', minLength: 1, maxLength: MAX_VERSION_LENGTH, example: '2' },
  },
];

const BODY_ERRORS = ['MALFORMED_JSON', 'REQUEST_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'] as const;

export const LIST_SCHEMAS: OperationDescription = {
  id: 'listSchemas',
  summary: 'List the schemas of an organization',
  description:
    'All versions, at most 1000, without the schemas themselves. Withdrawn ones are among them.',
  responses: { 200: { description: 'The versions.', type: SchemaListDto, headers: NO_STORE } },
};

export const SHOW_SCHEMA: OperationDescription = {
  id: 'getSchema',
  summary: 'Show a version of a schema',
  description: 'With the numbers as they were sent.',
  pathParameters: PARAMETERS,
  responses: { 200: { description: 'The version.', type: SchemaDto, headers: NO_STORE } },
  errors: ['NOT_FOUND'],
};

export const REGISTER_SCHEMA: OperationDescription = {
  id: 'registerSchema',
  summary: 'Register a version of a schema',
  description:
    'Events of the action that name this version as `schemaVersion` are checked against it; those that name none against the newest. ' +
    'Registering the same schema again changes nothing; another one under a version that exists is `CONFLICT`, as versions stay what they are. ' +
    '`INCOMPATIBLE_SCHEMA` says which place of the schema may refuse what the newest version before it accepts; `compatibility: none` begins anew. ' +
    'Takes effect here at once, on all replicas within 5 seconds.',
  pathParameters: PARAMETERS,
  body: { type: RegisterSchemaDto },
  responses: {
    200: { description: 'It was registered before.', type: SchemaDto, headers: NO_STORE },
    201: { description: 'Registered.', type: SchemaDto, headers: NO_STORE },
  },
  errors: [...BODY_ERRORS, 'CONFLICT', 'INCOMPATIBLE_SCHEMA'],
};

export const WITHDRAW_SCHEMA: OperationDescription = {
  id: 'withdrawSchema',
  summary: 'Withdraw a version of a schema',
  description:
    'Events that name it have a fault from then on, and it is no longer the newest. It stays readable, and its name is not given to another schema.',
  pathParameters: PARAMETERS,
  responses: {
    200: { description: 'Withdrawn, now or before.', type: SchemaDto, headers: NO_STORE },
  },
  errors: ['NOT_FOUND'],
};

export const SHOW_MODE: OperationDescription = {
  id: 'getSchemaMode',
  summary: 'Show whether events are checked against schemas',
  description: '`off` for an organization that has never set it.',
  responses: { 200: { description: 'The mode.', type: SchemaSettingDto, headers: NO_STORE } },
};

export const SET_MODE: OperationDescription = {
  id: 'setSchemaMode',
  summary: 'Set whether events are checked against schemas',
  description:
    'For all actions of the organization. Takes effect here at once, on all replicas within 5 seconds.',
  body: { type: SchemaModeDto },
  responses: { 200: { description: 'The mode.', type: SchemaSettingDto, headers: NO_STORE } },
  errors: BODY_ERRORS,
};
