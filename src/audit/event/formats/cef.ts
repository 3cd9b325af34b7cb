import { isIP } from 'node:net';
import { parseFineInstant } from '../../../platform/runtime/instant';
import { contentOf, type EventContent, type EventFormat, targetsOf } from './event-format';

/** Severities from 0 to 10; up to 3 is low, 4 to 6 medium. */
const SEVERITIES = { success: 3, attempt: 3, failure: 5 };

/** Version 1 of the API, whose events these are. */
const DEVICE = ['audit-server', 'audit-server', '1'];
const MAX_SIGNATURE = 1023;
const MAX_NAME = 512;

/**
 * Common Event Format, version 0: a line of text per event. Values are cut at the length that the dictionary of CEF
 * gives to a key, so this is for alerts and searches; the exact event is found by `externalId`.
 */
export const CEF: EventFormat = {
  isJson: false,
  write: (eventText) => {
    const event = contentOf(eventText);
    const header = [
      'CEF:0',
      ...DEVICE,
      headerText(event.action, MAX_SIGNATURE),
      headerText(event.action, MAX_NAME),
      SEVERITIES[event.status],
    ];
    return `${header.join('|')}|${extensionOf(event)}`;
  },
};

/** A value, and its longest length in characters. */
type Value = [value: string | number | null | undefined, maxLength?: number];

const CUSTOM = 4000;

function extensionOf(event: EventContent): string {
  const { source, sessionContext } = event;
  const [target] = targetsOf(event);
  const pairs: Record<string, Value> = {
    rt: [millisecondsOf(event.recordedAt)],
    start: [millisecondsOf(event.timestamp)],
    externalId: [event.id],
    outcome: [event.status],
    msg: [event.outcomeDescription, 1023],
    suid: [event.principalId, 1023],
    suser: [event.principalName, 1023],
    ...addressOf(sessionContext?.ipAddress),
    requestClientApplication: [sessionContext?.userAgent, 1023],
    sourceServiceName: [source?.service, 1023],
    dvchost: [source?.host, 100],
    ...labelled('cs1', 'Organization', [event.organizationId, CUSTOM]),
    ...labelled('cs2', 'Target type', [target?.type, CUSTOM]),
    ...labelled('cs3', 'Target id', [target?.id, CUSTOM]),
    ...labelled('cs4', 'Correlation id', [event.correlationId, CUSTOM]),
    ...labelled('cs5', 'Data classification', [event.dataClassification, CUSTOM]),
    ...labelled('cs6', 'Session id', [sessionContext?.sessionId, CUSTOM]),
    ...labelled('cn1', 'Sequence', [event.sequence]),
  };
  return Object.entries(pairs)
    .filter(([, [value]]) => value !== undefined && value !== null && value !== '')
    .map(([key, [value, max]]) => `${key}=${extensionText(cut(String(value), max))}`)
    .join(' ');
}

/** `src` takes IPv4 alone; an IPv6 address has a key of its own, and any other text is a host name. */
function addressOf(address: string | null | undefined): Record<string, Value> {
  const version = isIP(address ?? '');
  if (version === 4) return { src: [address] };
  return version === 6
    ? labelled('c6a2', 'Source IPv6 Address', [address])
    : { shost: [address, 1023] };
}

function labelled(key: string, label: string, value: Value): Record<string, Value> {
  const isThere = value[0] !== undefined && value[0] !== null && value[0] !== '';
  return isThere ? { [key]: value, [`${key}Label`]: [label] } : {};
}

function millisecondsOf(instant: string): number {
  return Math.floor((parseFineInstant(instant)?.micros ?? 0) / 1000);
}

/** Never within a character. */
function cut(text: string, maxLength = Infinity): string {
  return text.length <= maxLength ? text : [...text].slice(0, maxLength).join('');
}

/** A line break cannot be written in the header: it becomes a space. */
function headerText(text: string, maxLength: number): string {
  return cut(text, maxLength)
    .replace(/[\\|]/g, '\\$&')
    .replace(/\r\n|[\r\n]/g, ' ');
}

const BREAKS: Record<string, string> = { '\n': '\\n', '\r': '\\r' };

function extensionText(text: string): string {
  return text.replace(/[\\=]/g, '\\$&').replace(/[\r\n]/g, (found) => BREAKS[found] ?? found);
}
