import { type Agent, request as httpRequest } from 'node:http';
import type { Readable } from 'node:stream';
import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib';
import Ajv2020, { type ValidateFunction } from 'ajv/dist/2020';
import addFormats from 'ajv-formats';
import type { Document, Operation, ResponseObject, WireRequest } from './openapi-requests';

/** An answer with its body decoded; `isWhole` is false for one that goes on and on, and was left. */
export interface WireResponse {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: string;
  isWhole: boolean;
}

const PROBLEM_TYPE = 'application/problem+json';

/** Longer than any answer takes that ends by itself. */
const ANSWER_TIMEOUT_MS = 20_000;
/** What streams events forever is read for this long. */
const STREAM_MS = 200;

/** Sends a request as it stands; a body goes out with its length. */
export function send(port: number, request: WireRequest, agent: Agent): Promise<WireResponse> {
  const { method, path, headers, body } = request;
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(
      {
        host: '127.0.0.1',
        port,
        agent,
        method,
        path,
        headers: { ...headers, ...(body ? { 'content-length': body.length } : {}) },
        timeout: ANSWER_TIMEOUT_MS,
      },
      (incoming) => {
        const { statusCode = 0, headers: answered } = incoming;
        const isEndless = mediaType(answered['content-type']) === 'text/event-stream';
        readBody(incoming, isEndless ? STREAM_MS : ANSWER_TIMEOUT_MS).then(
          ({ bytes, isWhole }) =>
            resolve({
              status: statusCode,
              headers: answered,
              body: isWhole ? decoded(bytes, String(answered['content-encoding'] ?? '')) : '',
              isWhole,
            }),
          reject,
        );
      },
    );
    outgoing.on('timeout', () => outgoing.destroy(new Error('No answer in time')));
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

async function readBody(
  incoming: Readable,
  forMs: number,
): Promise<{ bytes: Buffer; isWhole: boolean }> {
  let isWhole = true;
  const timer = setTimeout(() => {
    isWhole = false;
    incoming.destroy();
  }, forMs);
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
  } catch (error) {
    if (isWhole) throw error;
  } finally {
    clearTimeout(timer);
  }
  return { bytes: Buffer.concat(chunks), isWhole };
}

function decoded(bytes: Buffer, coding: string): string {
  if (bytes.length === 0) return '';
  if (coding === 'gzip') return gunzipSync(bytes).toString();
  if (coding === 'br') return brotliDecompressSync(bytes).toString();
  if (coding === 'deflate') return inflateSync(bytes).toString();
  return bytes.toString();
}

function mediaType(header: string | string[] | undefined): string {
  return (String(header ?? '').split(';')[0] ?? '').trim().toLowerCase();
}

/** Tells what in an answer is not as the document describes it. */
export class DescribedResponses {
  private readonly ajv = new Ajv2020({ strict: false, allErrors: false });
  private readonly validators = new Map<string, ValidateFunction>();

  constructor(private readonly document: Document) {
    addFormats(this.ajv);
    this.ajv.addSchema(document, 'api');
  }

  /**
   * One line for each fault; none when status, content type and body are as described, and the status is no 5xx. Errors
   * that the operation does not name itself are those of its `default`: by code, whose example has the status.
   */
  violationsOf(method: string, path: string, operation: Operation, answer: WireResponse): string[] {
    const { status, headers, body } = answer;
    const faults: string[] = [];
    if (status >= 500) faults.push(`${status} is a failure of the service`);
    if (headers['x-request-id'] === undefined) faults.push('there is no X-Request-Id');
    const key = String(status) in operation.responses || status < 400 ? String(status) : 'default';
    const described = operation.responses[key];
    if (!described) return [...faults, `${status} is not described`];
    const reference = '$ref' in described ? described.$ref : undefined;
    const pointer = reference ?? pointerTo('paths', path, method.toLowerCase(), 'responses', key);
    const response = this.at(pointer) as ResponseObject;
    const types = Object.keys(response.content ?? {});
    const type = mediaType(headers['content-type']);
    if (types.length === 0) {
      return body === '' ? faults : [...faults, `${status} is described without a body`];
    }
    const found = types.find((known) => mediaType(known) === type);
    if (found === undefined) {
      return [
        ...faults,
        `${type || 'no type'} is not described for ${status}: ${types.join(', ')}`,
      ];
    }
    const { schema, examples = {} } = response.content?.[found] ?? {};
    if (schema) {
      const place = `${pointer}${pointerTo('content', found, 'schema').slice(1)}`;
      faults.push(
        ...(schema.contentSchema
          ? this.faultsOfLines(`${place}/contentSchema/items`, answer)
          : this.faultsOfBody(place, type, answer)),
      );
    }
    return type === PROBLEM_TYPE ? [...faults, ...this.faultsOfCode(examples, answer)] : faults;
  }

  /** The code of a problem is one of those with an example, and has the status of that. */
  private faultsOfCode(
    examples: Record<string, { $ref?: string }>,
    { status, body }: WireResponse,
  ): string[] {
    const { code } = JSON.parse(body) as { code: string };
    const { $ref } = examples[code] ?? {};
    if ($ref === undefined) return [`${code} (${status}) is not described`];
    const example = this.at($ref) as { value: { status: number } };
    return example.value.status === status ? [] : [`${code} is described with another status`];
  }

  private faultsOfLines(pointer: string, { body, isWhole }: WireResponse): string[] {
    if (!isWhole) return ['the answer did not end'];
    return this.faultsOfTexts(
      pointer,
      body.split('\n').filter((line) => line !== ''),
    );
  }

  private faultsOfBody(pointer: string, type: string, { body, isWhole }: WireResponse): string[] {
    if (!isWhole) return type === 'text/event-stream' ? [] : ['the answer did not end'];
    return /[/+]json$/.test(type) ? this.faultsOfTexts(pointer, [body]) : [];
  }

  private faultsOfTexts(pointer: string, texts: string[]): string[] {
    return texts.flatMap((text) => {
      let value: unknown;
      try {
        value = JSON.parse(text);
      } catch {
        return [`this is no JSON: ${text.slice(0, 200)}`];
      }
      const validate = this.validator(pointer);
      if (validate(value)) return [];
      const reasons = this.ajv.errorsText(validate.errors, { dataVar: 'body' });
      return [`${reasons} (${pointer}): ${text.slice(0, 500)}`];
    });
  }

  private validator(pointer: string): ValidateFunction {
    let validate = this.validators.get(pointer);
    if (!validate) {
      validate = this.ajv.compile({ $ref: `api${pointer}` });
      this.validators.set(pointer, validate);
    }
    return validate;
  }

  private at(pointer: string): unknown {
    return pointer
      .slice(2)
      .split('/')
      .map((part) => decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~'))
      .reduce<unknown>((node, name) => (node as Record<string, unknown>)[name], this.document);
  }
}

/** A JSON pointer as the fragment of a URI: `#/paths/~1health`. */
function pointerTo(...names: (string | number)[]): string {
  const parts = names.map((name) =>
    encodeURIComponent(String(name).replaceAll('~', '~0').replaceAll('/', '~1')),
  );
  return `#/${parts.join('/')}`;
}
