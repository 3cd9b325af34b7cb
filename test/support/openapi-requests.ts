import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { listText } from './test-service';
import { hostileValue, nearlyValueOf, type Schema, valueOf } from './schema-arbitraries';

/** An OpenAPI document, as far as requests are made from it and answers compared with it. */
export interface Document {
  paths: Record<string, Record<string, Operation>>;
  components: Record<string, Record<string, unknown>>;
}

export interface Operation {
  operationId: string;
  parameters?: Parameter[];
  requestBody?: { required?: boolean; content: Record<string, { schema?: Schema }> };
  responses: Record<string, ResponseObject | { $ref: string }>;
}

export interface ResponseObject {
  content?: Record<string, { schema?: Schema; examples?: Record<string, { $ref?: string }> }>;
}

interface Parameter {
  name: string;
  in: 'query' | 'path' | 'header' | 'cookie';
  required?: boolean;
  schema?: Schema;
}

/** A request as it goes over the wire. */
export interface WireRequest {
  method: string;
  path: string;
  headers: Record<string, string>;
  body?: Buffer;
}

const METHODS = new Set(['get', 'put', 'post', 'delete', 'patch']);

/** Every operation of the document with its method and path. */
export function operationsOf(
  document: Document,
): { method: string; path: string; operation: Operation }[] {
  return Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item)
      .filter(([method]) => METHODS.has(method))
      .map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  );
}

/** What a `#/…` reference of the document stands for. */
function resolveIn(document: Document): (reference: string) => Schema {
  return (reference) =>
    reference
      .slice(2)
      .split('/')
      .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
      .reduce<unknown>((node, name) => (node as Record<string, unknown>)[name], document) as Schema;
}

/** References that lead nowhere. */
export function brokenReferencesIn(document: Document): string[] {
  const resolve = resolveIn(document);
  const all = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(([, to = '']) => to);
  return [...new Set(all)].filter((reference) => {
    try {
      return resolve(reference) === undefined;
    } catch {
      return true;
    }
  });
}

/** Values of path parameters that the document gives as examples: what stands there should exist. */
export function examplesInPaths(document: Document): string[] {
  const examples = operationsOf(document)
    .flatMap(({ operation }) => operation.parameters ?? [])
    .filter((parameter) => parameter.in === 'path')
    .map(({ schema }) => schema?.example)
    .filter((example) => typeof example === 'string');
  return [...new Set(examples)];
}

/** Good values by the name of their query parameter or header, where a schema does not say what is one. */
export type KnownValues = Readonly<Record<string, readonly unknown[]>>;

/**
 * Good, nearly good and hostile requests to one operation. `tokens` are put into Authorization; '' leaves it out. Values of
 * `known` are sent for more than half of its parameters.
 */
export function requestTo(
  document: Document,
  { method, path, operation }: { method: string; path: string; operation: Operation },
  tokens: readonly string[],
  known: KnownValues,
): fc.Arbitrary<WireRequest> {
  const resolve = resolveIn(document);
  const parameters = operation.parameters ?? [];
  const of = (place: Parameter['in']) => parameters.filter((parameter) => parameter.in === place);
  const [goodToken = '', ...otherTokens] = tokens;
  return fc
    .record({
      path: pathTo(path, of('path'), resolve),
      query: queryOf(of('query'), resolve, known),
      headers: headersOf(of('header'), resolve, known),
      body: bodyOf(operation, resolve),
      isCoded: fc.nat(9).map((chance) => chance > 0),
      token: fc.oneof(
        { weight: 12, arbitrary: fc.constant(goodToken) },
        { weight: 1, arbitrary: fc.constantFrom('', ...otherTokens) },
      ),
      accept: fc.oneof(
        { weight: 10, arbitrary: fc.constantFrom('*/*', 'application/json') },
        { weight: 1, arbitrary: fc.constantFrom('image/png', 'text/csv;q=0.1', ';;,q=x') },
      ),
      coding: fc.constantFrom('identity', 'gzip', 'br', 'gzip;q=0, *;q=0.5', ''),
    })
    .map(({ path: target, query, headers, body, isCoded, token, accept, coding }) => ({
      method,
      path: query === '' ? target : `${target}?${query}`,
      headers: {
        accept,
        ...(coding === '' ? {} : { 'accept-encoding': coding }),
        ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
        ...headers,
        ...(body.type === '' ? {} : { 'content-type': body.type }),
      },
      body: isCoded ? codedAs(headers['content-encoding'], body.bytes) : body.bytes,
    }));
}

type CodecName = 'gzip' | 'deflate' | 'br';
const CODECS = { gzip: gzipSync, deflate: deflateSync, br: brotliCompressSync };

/** The body as its header says that it is compressed. */
function codedAs(coding: string | undefined, bytes: Buffer | undefined): Buffer | undefined {
  if (bytes === undefined || !Object.hasOwn(CODECS, coding ?? '')) return bytes;
  return CODECS[coding as CodecName](bytes);
}

/** Valid values, of which many are those that are known to be good. */
function goodValue(
  { name, schema = {} }: Parameter,
  resolve: (reference: string) => Schema,
  known: KnownValues,
): fc.Arbitrary<unknown> {
  const valid = valueOf(schema, resolve);
  const values = known[name];
  return values === undefined
    ? valid
    : fc.oneof(
        { weight: 3, arbitrary: fc.constantFrom(...values) },
        { weight: 1, arbitrary: valid },
      );
}

/** Mostly what the schema allows, as only that gets far. */
function mostlyValid(
  schema: Schema,
  resolve: (reference: string) => Schema,
): fc.Arbitrary<unknown> {
  return fc.oneof(
    { weight: 6, arbitrary: valueOf(schema, resolve) },
    { weight: 3, arbitrary: nearlyValueOf(schema, resolve) },
    { weight: 1, arbitrary: hostileValue },
  );
}

function textOf(value: unknown): string {
  if (Array.isArray(value)) return listText(value.map(textOf));
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
}

/** Lone surrogates cannot be encoded: they become what a client library sends for them. */
const encoded = (value: unknown) => encodeURIComponent(textOf(value).toWellFormed());

const BROKEN_ENCODINGS = ['%', '%zz', '%ff', '%00', '%c0%af', '%2e%2e%2f', '%F0%9F', '..;'];

function pathTo(
  template: string,
  parameters: Parameter[],
  resolve: (reference: string) => Schema,
): fc.Arbitrary<string> {
  const values = parameters.map(({ schema = {} }) =>
    fc.oneof(
      { weight: 9, arbitrary: mostlyValid(schema, resolve).map((value) => encoded(value) || '-') },
      { weight: 1, arbitrary: fc.constantFrom(...BROKEN_ENCODINGS) },
    ),
  );
  return fc
    .tuple(...values)
    .map((texts) =>
      parameters.reduce(
        (path, { name }, index) => path.replace(`{${name}}`, () => texts[index] ?? ''),
        template,
      ),
    );
}

/** Of requests with many parameters hardly one is good, as some exclude each other: half of all have a few. */
const FEW_PARAMETERS = 3;

/** Optional parameters: up to a few, or any number of them. */
function someOf(names: string[]): fc.Arbitrary<string[]> {
  return fc.oneof(
    fc.subarray(names, { maxLength: Math.min(names.length, FEW_PARAMETERS) }),
    fc.subarray(names),
  );
}

function queryOf(
  parameters: Parameter[],
  resolve: (reference: string) => Schema,
  known: KnownValues,
): fc.Arbitrary<string> {
  const required = parameters.filter((parameter) => parameter.required).map(({ name }) => name);
  const optional = parameters.filter((parameter) => !parameter.required).map(({ name }) => name);
  const valuesBy = (valueFor: (parameter: Parameter) => fc.Arbitrary<unknown>) =>
    fc.record(Object.fromEntries(parameters.map((one) => [one.name, valueFor(one).map(encoded)])));
  const names = parameters.map(({ name }) => name);
  const stray = fc.constantFrom(
    'unknown=1',
    '=',
    '&&',
    'a[b][c]=1',
    '%ff=%ff',
    ...names.flatMap((name) => [`${name}=&${name}=`, `${name}[]=1`, `${name}=%00`, `${name}`]),
  );
  return fc
    .record({
      // Each of many parameters being mostly valid, hardly one request would be: most have only valid ones.
      values: fc.oneof(
        { weight: 2, arbitrary: valuesBy((one) => goodValue(one, resolve, known)) },
        { weight: 1, arbitrary: valuesBy(({ schema = {} }) => mostlyValid(schema, resolve)) },
      ),
      sent: fc.tuple(fc.option(fc.constant(required), { freq: 20, nil: [] }), someOf(optional)),
      extra: fc.oneof(
        { weight: 9, arbitrary: fc.constant(undefined) },
        { weight: 1, arbitrary: stray },
      ),
    })
    .map(({ values, sent, extra }) =>
      [...sent.flat().map((name) => `${name}=${values[name] ?? ''}`), extra]
        .filter((part) => part !== undefined)
        .join('&'),
    );
}

/** What Node's client lets through as the value of a header, in bytes as UTF-8 has them. */
function headerText(value: unknown): string {
  const bytes = Buffer.from(textOf(value).toWellFormed()).toString('latin1');
  return bytes.replace(/[^\t\x20-\x7e\x80-\xff]/g, '').slice(0, 4000);
}

function headersOf(
  parameters: Parameter[],
  resolve: (reference: string) => Schema,
  known: KnownValues,
): fc.Arbitrary<Record<string, string>> {
  const pairs = parameters.map((parameter) => {
    const value = fc.oneof(
      { weight: 5, arbitrary: goodValue(parameter, resolve, known) },
      { weight: 1, arbitrary: mostlyValid(parameter.schema ?? {}, resolve) },
    );
    return fc
      .option(value.map(headerText), { freq: 2, nil: undefined })
      .map((text) => (text === undefined ? [] : [[parameter.name.toLowerCase(), text]]));
  });
  return fc.tuple(...pairs).map((all) => Object.fromEntries(all.flat()) as Record<string, string>);
}

const RAW_BODIES = [
  '',
  ' ',
  '{',
  'null',
  '[]',
  '"text"',
  '1e999',
  '{"a":1,"a":2}',
  '{"__proto__":{"x":1},"action":1e400}',
  '\ufeff{}',
  '\0',
  `${'['.repeat(5000)}`,
  `{"metadata":${'{"a":'.repeat(40)}1${'}'.repeat(40)}}`,
].map((text) => Buffer.from(text));

const NO_BODY = { type: '', bytes: undefined as Buffer | undefined };

const linesOf = (values: unknown[]) => values.map((value) => `${JSON.stringify(value)}\n`).join('');

function bodyOf(
  { requestBody }: Operation,
  resolve: (reference: string) => Schema,
): fc.Arbitrary<typeof NO_BODY> {
  if (!requestBody) return fc.constant(NO_BODY);
  const good = Object.entries(requestBody.content).map(([type, { schema = {} }]) => {
    const { items } = schema.contentSchema ?? {};
    const text = items
      ? fc.array(mostlyValid(items, resolve), { maxLength: 4 }).map(linesOf)
      : mostlyValid(schema, resolve).map((value) => JSON.stringify(value));
    return text.map((body) => ({ type, bytes: Buffer.from(body) }));
  });
  const types = [...Object.keys(requestBody.content), 'text/plain', 'application/json; charset=x'];
  const raw = fc.record({
    type: fc.constantFrom(...types, ''),
    bytes: fc.oneof(
      fc.constantFrom(...RAW_BODIES),
      fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    ),
  });
  return fc.oneof(
    { weight: 9, arbitrary: fc.oneof(...good) },
    { weight: 1, arbitrary: raw },
    { weight: 1, arbitrary: fc.constant(NO_BODY) },
  );
}
