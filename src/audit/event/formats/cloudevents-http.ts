import type { IncomingHttpHeaders } from 'node:http';
import { validationFailed } from '../../../platform/errors/app-error';
import { parseExactJson } from '../../../platform/runtime/lossless-json';

/** Prefix of the headers with attributes, in the binary mode of the HTTP binding. */
export const ATTRIBUTE_HEADER = 'ce-';

const REQUIRED = ['specversion', 'id', 'source', 'type'].map(
  (name) => `${ATTRIBUTE_HEADER}${name}`,
);
const JSON_TYPE = /^[^;]*[/+]json\s*(?:;|$)/i;
const UTF8 = new TextDecoder('utf-8', { fatal: true });

/** True for a request in binary mode: any of the attributes that an event must have is a header. */
export function isBinaryCloudEvent(headers: IncomingHttpHeaders): boolean {
  return REQUIRED.some((name) => headers[name] !== undefined);
}

/**
 * A request in binary mode as a CloudEvent in structured JSON. A body that is no JSON becomes `data_base64`.
 * @throws AppError VALIDATION_FAILED for headers that are no UTF-8; SyntaxError, TypeError (no UTF-8) and
 * UnacceptableJsonError for such a body.
 */
export function structuredCloudEvent(headers: IncomingHttpHeaders, body: Buffer): string {
  const { 'content-type': contentType } = headers;
  const attributes = Object.entries(headers)
    .filter(([name]) => name.startsWith(ATTRIBUTE_HEADER))
    .map(([name, value]) => [name.slice(ATTRIBUTE_HEADER.length), decoded(name, String(value))]);
  if (contentType !== undefined) attributes.push(['datacontenttype', contentType]);
  const text = JSON.stringify(Object.fromEntries(attributes));
  if (body.length === 0) return text;
  const data =
    contentType === undefined || JSON_TYPE.test(contentType)
      ? `"data":${jsonText(body)}`
      : `"data_base64":"${body.toString('base64')}"`;
  return `${text.slice(0, -1)},${data}}`;
}

/** The header of a place in the structured form. */
export function headerOfPlace(place: string): string {
  if (place === '' || /^data(?:_base64)?(?:[.[]|$)/.test(place)) return place;
  return place === 'datacontenttype' ? 'Content-Type' : `${ATTRIBUTE_HEADER}${place}`;
}

/** Parsed before it is put into other text, of which it must stay one value. */
function jsonText(body: Buffer): string {
  const text = UTF8.decode(body);
  parseExactJson(text);
  return text;
}

/** Removes quotes and then one round of percent-encoding (HTTP binding 1.0.2, section 3.1.3.2). */
function decoded(name: string, value: string): string {
  const [, quoted] = /^"((?:[^"\\]|\\.)*)"$/.exec(value) ?? [];
  const unquoted = quoted === undefined ? value : quoted.replace(/\\(.)/g, '$1');
  const bytes = unquoted.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  try {
    return UTF8.decode(Buffer.from(bytes, 'latin1'));
  } catch {
    throw validationFailed([{ path: name, message: 'must be UTF-8, percent-encoded' }]);
  }
}
