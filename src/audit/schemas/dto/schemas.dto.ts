import { ApiProperty } from '@nestjs/swagger';
import { Check, InsteadOfArray, type Rule, text } from '../../../validation/constraints';
import {
  ApiInstant,
  ApiParts,
  ApiText,
  ApiWord,
  Parameter,
  Property,
  WordProperty,
} from '../../../validation/dto-properties';
import { QueryText } from '../../../validation/query-coercion';
import { MAX_NAME_LENGTH } from '../../event/audit-event';
import { COMPATIBILITIES, type Compatibility, MODES, type SchemaMode } from '../schema-store';

const name = text(MAX_NAME_LENGTH, 1);
const organization: Rule = (value) =>
  value === '*' ? 'must be one organization, not *' : name(value);

/** The organization that a request is about. */
export class SchemaQuery {
  @QueryText()
  @Check(organization)
  @ApiProperty({
    type: String,
    minLength: 1,
    maxLength: MAX_NAME_LENGTH,
    description: 'The organization: one that the token does not have is 403.',
    example: 'org-1',
  })
  organization_id!: string;
}

export class SchemasQuery extends SchemaQuery {
  @Parameter(QueryText(), name, {
    type: String,
    minLength: 1,
    maxLength: MAX_NAME_LENGTH,
    description: 'The versions of this action alone.',
    example: 'fhirPatientRead',
  })
  action?: string;
}

/** A version to register. */
@InsteadOfArray('send { "schema": {...} }')
export class RegisterSchemaDto {
  @Property(
    (value) =>
      typeof value === 'boolean' ||
      (typeof value === 'object' && value !== null && !Array.isArray(value))
        ? undefined
        : 'must be a JSON Schema: an object, true or false',
    { type: 'object', additionalProperties: true },
    {
      description:
        'A JSON Schema 2020-12 of the event without its ids, times, organization, action and schemaVersion, up to 64 KiB; `true` and `false` ' +
        'are schemas too. Numbers keep their exact decimal value. `$ref` is for `#/$defs/name`; patterns have the syntax of RE2; `format` constrains nothing.',
      example: {
        type: 'object',
        required: ['metadata'],
        properties: {
          metadata: {
            type: 'object',
            required: ['ward'],
            properties: {
              ward: { type: 'string', pattern: '^[A-Z][0-9]$' },
              durationMs: { type: 'number', minimum: 0 },
            },
            additionalProperties: false,
          },
        },
      },
      required: true,
    },
  )
  schema!: object | boolean;

  @WordProperty(COMPATIBILITIES, {
    description:
      '`backward`, or left out: the version has to accept all that the newest one before it accepts. `none`: it begins anew, as a major version does.',
    example: 'backward',
  })
  compatibility?: Compatibility | null;
}

/** How an organization uses its schemas. */
@InsteadOfArray('send { "mode": "warn" }')
export class SchemaModeDto {
  @WordProperty(MODES, {
    description:
      '`off`: nothing is checked. `warn`: events with faults are stored, counted and logged. `enforce`: they are refused.',
    example: 'enforce',
    required: true,
  })
  mode!: SchemaMode;
}

export class SchemaSettingDto {
  @ApiText('org-1')
  organizationId!: string;

  @ApiWord(MODES, 'enforce')
  mode!: SchemaMode;

  @ApiInstant('When mode or schemas changed last; null if never.', {
    example: '2026-11-23T10:30:00.123456Z',
    nullable: true,
  })
  changedAt!: string | null;
}

/** A registered version, without the schema. */
export class SchemaVersionDto {
  @ApiText('org-1')
  organizationId!: string;

  @ApiText('fhirPatientRead')
  action!: string;

  @ApiText('2', 'Events name it as `schemaVersion`.')
  version!: string;

  @ApiWord(COMPATIBILITIES, 'backward')
  compatibility!: Compatibility;

  @ApiInstant(undefined, { example: '2026-11-23T10:30:00.123456Z' })
  registeredAt!: string;

  @ApiText('alice', 'The subject of the token.')
  registeredBy!: string;

  @ApiInstant('Null unless it was withdrawn.', {
    example: '2026-11-23T10:30:00.123456Z',
    nullable: true,
  })
  withdrawnAt!: string | null;
}

/** A registered version with its schema. */
export class SchemaDto extends SchemaVersionDto {
  @ApiProperty({
    anyOf: [{ type: 'object', additionalProperties: true }, { type: 'boolean' }],
    description: 'The JSON Schema.',
    example: { type: 'object' },
  })
  schema!: object | boolean;
}

export class SchemaListDto {
  @ApiParts(() => SchemaVersionDto, 'By action, in the order of their registration.')
  data!: SchemaVersionDto[];
}
