import { contentOf, type EventFormat, targetsOf } from './event-format';

/**
 * CloudEvents 1.0, structured JSON. `data` is the event to the letter; the attributes are for routing. `sequence` and
 * `recordedtime` are documented extensions; a sequence is compared as text there, so it has the digits of a bigint.
 */
export const CLOUDEVENTS: EventFormat = {
  isJson: true,
  arrayMediaType: 'application/cloudevents-batch+json; charset=utf-8',
  write: (eventText) => {
    const event = contentOf(eventText);
    const [target] = targetsOf(event);
    const subject = [target?.type, target?.id].filter(Boolean).join('/');
    const attributes = JSON.stringify({
      specversion: '1.0',
      id: event.id,
      source: `/organizations/${encodeURIComponent(event.organizationId.toWellFormed())}`,
      type: attributeText(event.action),
      ...(subject === '' ? {} : { subject: attributeText(subject) }),
      time: event.timestamp,
      datacontenttype: 'application/json',
      sequence: event.sequence.padStart(BIGINT_DIGITS, '0'),
      recordedtime: event.recordedAt,
    });
    return `${attributes.slice(0, -1)},"data":${eventText}}`;
  },
};

const BIGINT_DIGITS = 19;

/** The type "String" of CloudEvents excludes control characters, noncharacters and lone surrogates. */
const EXCLUDED =
  /[\p{Cc}\p{Cs}\ufdd0-\ufdef\ufffe\uffff]|[\u{1fffe}\u{1ffff}\u{2fffe}\u{2ffff}\u{3fffe}\u{3ffff}\u{4fffe}\u{4ffff}\u{5fffe}\u{5ffff}\u{6fffe}\u{6ffff}\u{7fffe}\u{7ffff}\u{8fffe}\u{8ffff}\u{9fffe}\u{9ffff}\u{afffe}\u{affff}\u{bfffe}\u{bffff}\u{cfffe}\u{cffff}\u{dfffe}\u{dffff}\u{efffe}\u{effff}\u{ffffe}\u{fffff}\u{10fffe}\u{10ffff}]/gu;

function attributeText(text: string): string {
  return text.replace(EXCLUDED, '\ufffd');
}
