import { type FieldError, validationFailed } from '../../../platform/errors/app-error';
import { derivedUuid } from '../../../platform/runtime/derived-uuid';
import { joinMembers, type JsonMember, membersOf } from '../../../platform/runtime/json-members';
import { type NumberBudget, parseExactJson } from '../../../platform/runtime/lossless-json';
import {
  MAX_KIND_LENGTH,
  MAX_NAME_LENGTH,
  MAX_TEXT_LENGTH,
  MAX_VERSION_LENGTH,
} from '../audit-event';
import { contentOf, type EventFormat, type SentEvent, targetsOf } from './event-format';
import {
  CLASSIFICATIONS,
  meaningOf,
  membersFrom,
  type MemberTable,
  OUTCOMES,
} from './member-table';

/**
 * CloudEvents 1.0, structured JSON. Of our events `data` is the event to the letter; the attributes are for routing.
 * `sequence` and `recordedtime` are documented extensions; a sequence is compared as text there, so it has the digits of
 * a bigint. Any other CloudEvent becomes an event by the table of docs/incoming-formats.md, with itself as `metadata`.
 */
export const CLOUDEVENTS = {
  isJson: true,
  arrayMediaType: 'application/cloudevents-batch+json; charset=utf-8',
  write: (eventText) => {
    const event = contentOf(eventText);
    const [target] = targetsOf(event);
    const subject = [target?.type, target?.id].filter(Boolean).join('/');
    const attributes = JSON.stringify({
      specversion: '1.0',
      id: event.id,
      source: sourceOf(event.organizationId),
      type: attributeText(event.action),
      ...(subject === '' ? {} : { subject: attributeText(subject) }),
      time: event.timestamp,
      datacontenttype: 'application/json',
      sequence: event.sequence.padStart(BIGINT_DIGITS, '0'),
      recordedtime: event.recordedAt,
    });
    return `${attributes.slice(0, -1)},"data":${eventText}}`;
  },
  read: (text: string, budget?: NumberBudget): SentEvent => {
    const value = parseExactJson(text, budget);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw validationFailed([{ path: '', message: 'must be a CloudEvent, a JSON object' }]);
    }
    const event = value as Record<string, unknown>;
    const errors = faultsOf(event);
    if (errors.length > 0) throw validationFailed(errors);
    return isOurs(event) ? ourEvent(text) : mappedEvent(event, text);
  },
} satisfies EventFormat;

const BIGINT_DIGITS = 19;

function sourceOf(organizationId: string): string {
  return `/organizations/${encodeURIComponent(organizationId.toWellFormed())}`;
}

/** The type "String" of CloudEvents excludes control characters, noncharacters and lone surrogates. */
const EXCLUDED =
  /[\p{Cc}\p{Cs}\ufdd0-\ufdef\ufffe\uffff]|[\u{1fffe}\u{1ffff}\u{2fffe}\u{2ffff}\u{3fffe}\u{3ffff}\u{4fffe}\u{4ffff}\u{5fffe}\u{5ffff}\u{6fffe}\u{6ffff}\u{7fffe}\u{7ffff}\u{8fffe}\u{8ffff}\u{9fffe}\u{9ffff}\u{afffe}\u{affff}\u{bfffe}\u{bffff}\u{cfffe}\u{cffff}\u{dfffe}\u{dffff}\u{efffe}\u{effff}\u{ffffe}\u{fffff}\u{10fffe}\u{10ffff}]/gu;

function attributeText(text: string): string {
  return text.replace(EXCLUDED, '\ufffd');
}

const REQUIRED = ['specversion', 'id', 'source', 'type'];
const ATTRIBUTE_NAME = /^[a-z0-9]+$/;
/** Members of the JSON format that are no attributes. */
const DATA_MEMBERS = new Set(['data', 'data_base64']);
const MAX_INTEGER = 2 ** 31;
/** An event may have a million members. */
const MAX_FAULTS = 20;

/** Faults by CloudEvents 1.0 and its JSON format. Null is an attribute that is absent. */
function faultsOf(event: Record<string, unknown>): FieldError[] {
  const errors: FieldError[] = [];
  for (const name of REQUIRED) {
    const value = event[name] ?? null;
    if (value === null) errors.push({ path: name, message: 'is required of a CloudEvent' });
    else if (typeof value !== 'string' || value === '') {
      errors.push({ path: name, message: 'must be text that is not empty' });
    } else if (name === 'specversion' && value !== '1.0') {
      errors.push({ path: name, message: 'must be 1.0, the version that is read here' });
    }
  }
  for (const [name, value] of Object.entries(event)) {
    if (errors.length >= MAX_FAULTS) break;
    const message = DATA_MEMBERS.has(name) ? undefined : attributeFault(name, value);
    if (message !== undefined) errors.push({ path: name, message });
  }
  if (event.data_base64 !== undefined && typeof event.data_base64 !== 'string') {
    errors.push({ path: 'data_base64', message: 'must be text in base64' });
  } else if (event.data_base64 !== undefined && event.data !== undefined) {
    errors.push({ path: 'data_base64', message: 'must not be there together with data' });
  }
  return errors;
}

function attributeFault(name: string, value: unknown): string | undefined {
  if (!ATTRIBUTE_NAME.test(name)) {
    return 'is no name of an attribute: those have lower-case letters and digits';
  }
  if (value === null || typeof value === 'boolean') return undefined;
  if (typeof value === 'number') {
    const isInteger = Number.isInteger(value) && value >= -MAX_INTEGER && value < MAX_INTEGER;
    return isInteger ? undefined : 'must be an integer of 32 bits; other numbers are text';
  }
  if (typeof value !== 'string') return 'must be text, an integer, true or false';
  return value.search(EXCLUDED) === -1
    ? undefined
    : 'must not contain control characters, noncharacters or lone surrogates';
}

/** Text, also of a number or a truth value; undefined for an attribute that is absent or empty. */
function textOf(event: Record<string, unknown>, name: string): string | undefined {
  const value = Object.hasOwn(event, name) ? event[name] : null;
  if (value === null || value === '') return undefined;
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** True for an event that `write` has made, or one like it: its data has the id and the organization of the attributes. */
function isOurs({ id, source, data }: Record<string, unknown>): boolean {
  if (typeof data !== 'object' || data === null || Array.isArray(data)) return false;
  const own = data as Record<string, unknown>;
  return (
    own.id === id &&
    typeof own.organizationId === 'string' &&
    sourceOf(own.organizationId) === source
  );
}

/** Members that the service makes, and that a write refuses. */
const SERVER_MADE = new Set(['sequence', 'recordedAt']);

function ourEvent(text: string): SentEvent {
  let data: JsonMember | undefined;
  for (const member of membersOf(text)) if (member.name === 'data') data = member;
  const members = [...membersOf(data?.valueText ?? '{}')];
  return {
    text: joinMembers(members.filter(({ name }) => !SERVER_MADE.has(name))),
    namesOrganization: true,
    placeOf: (path) => (path === '' || path.startsWith('[') ? `data${path}` : `data.${path}`),
  };
}

/** Attributes by the member that has their text. */
const MEMBERS: MemberTable = [
  ['organizationId', ['organizationid'], Infinity],
  ['principalId', ['principalid', 'authid'], MAX_NAME_LENGTH],
  ['principalType', ['principaltype', 'authtype'], MAX_KIND_LENGTH],
  ['principalName', ['principalname'], MAX_NAME_LENGTH],
  ['outcomeDescription', ['outcomedescription'], MAX_TEXT_LENGTH],
  ['correlationId', ['correlationid'], MAX_NAME_LENGTH],
  ['sessionContext.sessionId', ['sessionid'], MAX_NAME_LENGTH],
  ['sessionContext.ipAddress', ['ipaddress'], MAX_TEXT_LENGTH],
  ['sessionContext.userAgent', ['useragent'], MAX_TEXT_LENGTH],
  ['source.service', ['source'], MAX_NAME_LENGTH],
  ['schemaVersion', ['schemaversion'], MAX_VERSION_LENGTH],
];

/** Places of members that always come from one attribute. */
const PLACES: Readonly<Record<string, string>> = {
  action: 'type',
  timestamp: 'time',
  organizationId: 'organizationid',
};

function mappedEvent(event: Record<string, unknown>, text: string): SentEvent {
  const attribute = (name: string) => textOf(event, name);
  const { members, places } = membersFrom(MEMBERS, attribute);
  const mapped = {
    id: derivedUuid(['cloudevents', String(event.source), String(event.id)]),
    timestamp: attribute('time'),
    action: event.type,
    status: meaningOf('outcome', attribute('outcome'), OUTCOMES) ?? 'success',
    dataClassification: meaningOf(
      'dataclassification',
      attribute('dataclassification'),
      CLASSIFICATIONS,
    ),
    ...targetOf(attribute('subject')),
    correlationId: traceIdIn(attribute('traceparent')),
    ...members,
  };
  return {
    text: `${JSON.stringify(mapped).slice(0, -1)},"metadata":${text}}`,
    namesOrganization: members.organizationId !== undefined,
    placeOf: (path) => PLACES[path] ?? places.get(path) ?? path.replace(/^metadata\.?/, ''),
  };
}

/** `Invoice/7` is a type and an id, as our exports write them; a subject of any other form is an id. */
function targetOf(subject: string | undefined): object {
  if (subject === undefined) return {};
  const [, type, id = subject] = /^([^/]+)\/([^/]+)$/.exec(subject) ?? [];
  const fits = (text: string | undefined) => (text?.length ?? 0) <= MAX_NAME_LENGTH;
  return fits(type) && fits(id) ? { targetResourceType: type, targetResourceId: id } : {};
}

/** The trace of the documented extension, a W3C traceparent. */
function traceIdIn(traceparent: string | undefined): string | undefined {
  return /^[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-/.exec(traceparent ?? '')?.[1];
}
