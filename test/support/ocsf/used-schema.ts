import type { OcsfAttribute, OcsfObject, OcsfSchema } from './ocsf-schema';

/**
 * The part of OCSF 1.3.0 that exports use, written down by hand: any other attribute is an error.
 * published-schema.spec.ts compares it with the schema itself, where that is there.
 *
 * `name:type`; `!` is required, `[]` an array, `@profile` needs it.
 */
const OBJECTS: Record<string, string> = {
  object: '',
  metadata:
    'version:string_t! product:product! profiles:string_t[] uid:string_t event_code:string_t sequence:integer_t ' +
    'tenant_uid:string_t correlation_uid:string_t original_time:string_t logged_time:timestamp_t log_name:string_t ' +
    'log_provider:string_t log_version:string_t',
  product: 'name:string_t vendor_name:string_t!',
  user: 'uid:string_t name:username_t type_id:integer_t type:string_t',
  session: 'uid:string_t',
  actor: 'user:user session:session',
  service: 'name:string_t version:string_t',
  network_endpoint: 'ip:ip_t name:string_t svc_name:string_t',
  http_request: 'user_agent:string_t',
  managed_entity: 'uid:string_t name:string_t type:string_t',
  api: 'operation:string_t! service:service',
  resource_details: 'uid:string_t name:string_t type:string_t',
};

const AT_LEAST_ONE: Record<string, string[]> = {
  product: ['name', 'uid'],
  user: ['account', 'name', 'uid'],
  actor: ['process', 'user', 'invoked_by', 'session', 'app_name', 'app_uid'],
  service: ['name', 'uid'],
  managed_entity: ['name', 'uid', 'device', 'group', 'org', 'policy', 'user'],
  resource_details: ['name', 'uid'],
  network_endpoint: [
    ...['ip', 'uid', 'name', 'hostname', 'svc_name'],
    ...['instance_uid', 'interface_uid', 'interface_name'],
  ],
};

const EVERY_CLASS =
  'class_uid:integer_t! class_name:string_t category_uid:integer_t! category_name:string_t activity_id:integer_t! ' +
  'activity_name:string_t type_uid:long_t! time:timestamp_t! severity_id:integer_t! severity:string_t ' +
  'status_id:integer_t status:string_t status_detail:string_t message:string_t metadata:metadata! unmapped:object';

const CLASSES: Record<number, { caption: string; attributes: string; activities: string }> = {
  0: { caption: 'Base Event', attributes: '', activities: '' },
  3001: {
    caption: 'Account Change',
    attributes: 'actor:actor user:user! src_endpoint:network_endpoint http_request:http_request',
    activities: '1:Create 2:Enable 3:Password_Change 4:Password_Reset 5:Disable 6:Delete 9:Lock',
  },
  3002: {
    caption: 'Authentication',
    attributes:
      'user:user! session:session service:service src_endpoint:network_endpoint http_request:http_request',
    activities: '1:Logon 2:Logoff',
  },
  3004: {
    caption: 'Entity Management',
    attributes:
      'actor:actor@host entity:managed_entity! src_endpoint:network_endpoint http_request:http_request',
    activities:
      '1:Create 2:Read 3:Update 4:Delete 5:Move 6:Enroll 7:Unenroll 8:Enable 9:Disable 10:Activate 11:Deactivate ' +
      '12:Suspend 13:Resume',
  },
  6003: {
    caption: 'API Activity',
    attributes:
      'actor:actor! api:api! resources:resource_details[] src_endpoint:network_endpoint! ' +
      'dst_endpoint:network_endpoint http_request:http_request',
    activities: '1:Create 2:Read 3:Update 4:Delete',
  },
};

const VALUES: Record<string, [values: string, sibling: string]> = {
  severity_id: ['1:Informational 2:Low', 'severity'],
  status_id: ['1:Success 2:Failure 99:Other', 'status'],
  type_id: ['1:User 3:System 99:Other', 'type'],
};

export const USED_SCHEMA: OcsfSchema = {
  version: '1.3.0',
  categories: { 0: 'Uncategorized', 3: 'Identity & Access Management', 6: 'Application Activity' },
  types: {
    string_t: { base: 'string_t', maxLength: 65_535 },
    username_t: { base: 'string_t' },
    timestamp_t: { base: 'long_t' },
    // Rough: node:net decides what an address is, and published-schema.spec.ts has the pattern of the schema.
    ip_t: { base: 'string_t', pattern: '^[0-9a-fA-F:.%]+[0-9a-zA-Z]*$', maxLength: 40 },
  },
  objects: Object.fromEntries(
    Object.entries(OBJECTS).map(([name, text]) => [name, objectOf(text, AT_LEAST_ONE[name])]),
  ),
  classes: Object.fromEntries(
    Object.entries(CLASSES).map(([uid, { caption, attributes, activities }]) => {
      const atLeastOne = uid === '3002' ? ['service', 'dst_endpoint'] : undefined;
      const object = objectOf(`${EVERY_CLASS} ${attributes}`, atLeastOne);
      const values = valuesOf(`${activities} 99:Other`.trim());
      const activity = { ...attribute('integer_t!'), values, sibling: 'activity_name' };
      const all = { ...object, attributes: { ...object.attributes, activity_id: activity } };
      return [uid, { ...all, caption, category: Math.floor(Number(uid) / 1000) }];
    }),
  ),
};

function objectOf(text: string, atLeastOne?: string[]): OcsfObject {
  const attributes = text.split(' ').filter((one) => one !== '');
  return {
    attributes: Object.fromEntries(
      attributes.map((one) => {
        const [name = '', rest = ''] = one.split(':');
        const [values, sibling] = VALUES[name] ?? [];
        const more = values === undefined ? {} : { values: valuesOf(values), sibling };
        return [name, { ...attribute(rest), ...more }];
      }),
    ),
    atLeastOne: atLeastOne ? [atLeastOne] : [],
  };
}

function attribute(text: string): OcsfAttribute {
  const [, type = '', isArray, isRequired, profile] =
    /^(\w+)(\[\])?(!)?(?:@(\w+))?$/.exec(text) ?? [];
  return {
    type,
    isArray: isArray !== undefined,
    isRequired: isRequired !== undefined,
    ...(profile === undefined ? {} : { profile }),
  };
}

function valuesOf(text: string): Record<string, string> {
  const pairs = text.split(' ').map((one) => one.replaceAll('_', ' ').split(':'));
  return Object.fromEntries(pairs) as Record<string, string>;
}
