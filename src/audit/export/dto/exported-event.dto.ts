import { ApiProperty } from '@nestjs/swagger';
import {
  ApiInstant,
  ApiInteger,
  ApiObject,
  ApiPart,
  ApiText,
  ApiTexts,
  ApiUuid,
  ApiWord,
} from '../../../validation/dto-properties';
import { EVENT_STATUSES } from '../../event/audit-event';
import { AuditEventDto } from '../../event/dto/responses.dto';

/*
 * Events of exports in the forms of other systems, with the members that each has: docs/export-schemas.md has all. They
 * are open, as an OCSF class or ECS field set that an event does not need is absent.
 */

const ABSENT = { required: false } as const;

/** An event with `schema=cloudevents`. */
export class CloudEventDto {
  @ApiWord(['1.0'], '1.0')
  specversion!: string;

  @ApiUuid('019ab1c2-3e4a-7000-8000-1234567890ab')
  id!: string;

  @ApiText('/organizations/org-1', '`/organizations/` and the organization, percent-encoded.')
  source!: string;

  @ApiText('fhirPatientRead', 'The action.')
  type!: string;

  @ApiText('Patient/pat-1', 'Type and id of the first target.', ABSENT)
  subject?: string;

  @ApiInstant(undefined, { example: '2026-11-23T10:30:00.123456Z' })
  time!: string;

  @ApiWord(['application/json'], 'application/json')
  datacontenttype!: string;

  @ApiText('0000000000000001042', 'With 19 digits, as it is compared as text.', {
    pattern: '^[0-9]{19}$',
  })
  sequence!: string;

  @ApiInstant(undefined, { example: '2026-11-23T10:30:00.234567Z' })
  recordedtime!: string;

  @ApiPart(() => AuditEventDto, 'The event to the letter.')
  data!: AuditEventDto;
}

/** `metadata` of an OCSF event. */
export class OcsfMetadataDto {
  @ApiText('1.3.0')
  version!: string;

  @ApiObject({ name: 'audit-server', vendor_name: 'audit-server' })
  product!: object;

  @ApiUuid('019ab1c2-3e4a-7000-8000-1234567890ab')
  uid!: string;

  @ApiText('fhirPatientRead', 'The action.')
  event_code!: string;

  @ApiInteger(1042, 'Absent above 2147483647.', ABSENT)
  sequence?: number;

  @ApiText('org-1', 'The organization.')
  tenant_uid!: string;

  @ApiText('req-7f3a', undefined, ABSENT)
  correlation_uid?: string;

  @ApiInstant(undefined, { example: '2026-11-23T10:30:00.123456Z' })
  original_time!: string;

  @ApiInteger(1_795_429_800_234, '`recordedAt` in milliseconds.')
  logged_time!: number;
}

/** An event with `schema=ocsf`. */
export class OcsfEventDto {
  @ApiInteger(6003, 'The class, of which the event has further members.')
  class_uid!: number;

  @ApiText('API Activity')
  class_name!: string;

  @ApiInteger(6)
  category_uid!: number;

  @ApiText('Application Activity')
  category_name!: string;

  @ApiInteger(2, '99 for another than those of the class.')
  activity_id!: number;

  @ApiText('Read', 'With 99 the action.')
  activity_name!: string;

  @ApiInteger(600_302)
  type_uid!: number;

  @ApiInteger(1_795_429_800_123, '`timestamp` in milliseconds, rounded down.')
  time!: number;

  @ApiInteger(1, '2 for a failure.')
  severity_id!: number;

  @ApiWord(['Informational', 'Low'], 'Informational')
  severity!: string;

  @ApiInteger(1, '99 for an attempt.')
  status_id!: number;

  @ApiWord(['Success', 'Failure', 'attempt'], 'Success')
  status!: string;

  @ApiText('Opened the chart', undefined, ABSENT)
  status_detail?: string;

  @ApiText('fhirPatientRead', 'The action.')
  message!: string;

  @ApiPart(() => OcsfMetadataDto)
  metadata!: OcsfMetadataDto;

  @ApiPart(() => AuditEventDto, 'The event to the letter.')
  unmapped!: AuditEventDto;
}

/** Field set `event` of an ECS event. */
export class EcsEventFieldsDto {
  @ApiWord(['event'], 'event')
  kind!: string;

  @ApiProperty({
    type: [String],
    required: false,
    example: ['api'],
    description: '`authentication`, `iam` or `api`.',
  })
  category?: string[];

  @ApiTexts(['access'])
  type!: string[];

  @ApiUuid('019ab1c2-3e4a-7000-8000-1234567890ab')
  id!: string;

  @ApiText('fhirPatientRead')
  action!: string;

  @ApiWord(['success', 'failure', 'unknown'], 'success', '`unknown` for an attempt.')
  outcome!: string;

  @ApiInstant('`recordedAt`.', { example: '2026-11-23T10:30:00.234567Z' })
  created!: string;

  @ApiWord(['audit'], 'audit')
  dataset!: string;

  @ApiText('clinic-api', undefined, ABSENT)
  provider?: string;

  @ApiText('Opened the chart', undefined, ABSENT)
  reason?: string;

  @ApiInteger(1042)
  sequence!: number;

  @ApiText('{"id":"019ab1c2-3e4a-7000-8000-1234567890ab"}', 'The text of the event.')
  original!: string;
}

/** Field set `audit` of an ECS event, of this service. */
export class EcsAuditFieldsDto {
  @ApiWord(EVENT_STATUSES, 'success')
  status!: string;

  @ApiText('PHI')
  data_classification!: string;
}

/** An event with `schema=ecs`. */
export class EcsEventDto {
  @ApiInstant(undefined, { example: '2026-11-23T10:30:00.123456Z' })
  '@timestamp'!: string;

  @ApiObject({ version: '9.4.0' })
  ecs!: object;

  @ApiText('fhirPatientRead', 'The action.')
  message!: string;

  @ApiObject({ id: 'org-1' })
  organization!: object;

  @ApiPart(() => EcsAuditFieldsDto)
  audit!: EcsAuditFieldsDto;

  @ApiPart(() => EcsEventFieldsDto)
  event!: EcsEventFieldsDto;
}
