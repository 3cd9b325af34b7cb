import { readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Operation {
  operationId: string;
  deprecated?: boolean;
  requestBody?: { content: Record<string, unknown> };
  responses: Record<string, { $ref?: string; content?: Record<string, { schema: unknown }> }>;
}

interface Description {
  info: { version: string };
  paths: Record<string, Record<string, Operation>>;
}

const read = <T>(name: string) =>
  JSON.parse(readFileSync(join(__dirname, '..', name), 'utf8')) as T;
const { info, paths } = read<Description>('docs/openapi.json');
const operations = Object.entries(paths).flatMap(([path, item]) =>
  Object.entries(item).map(([method, operation]) => ({ name: `${method} ${path}`, ...operation })),
);

/** The part of a name before its first capital. */
const VERB =
  /^(create|get|list|export|follow|ingest|invalidate|warm|optimize|scrape|register|withdraw|set)(Up)?[A-Z][A-Za-z]+$/;

/** The file that generators of clients read; `npm run openapi -- --check` compares it with the service. */
describe('docs/openapi.json for generators of clients', () => {
  it('has the version of the package', () => {
    expect(info.version).toBe(read<{ version: string }>('package.json').version);
  });

  it('names every operation by a verb, once', () => {
    const ids = operations.map(({ operationId }) => operationId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.filter((id) => !VERB.test(id))).toEqual([]);
    expect(ids).toEqual(
      expect.arrayContaining([
        'createEvent',
        'createEvents',
        'exportEvents',
        'followEvents',
        'getEvent',
        'ingestEvents',
        'listEvents',
      ]),
    );
  });

  it('marks the second paths as deprecated, and nothing else', () => {
    const second = operations.filter(({ name }) => name.includes('/performance/audit/events'));
    expect(second.length).toBeGreaterThan(5);
    const deprecated = operations.filter((operation) => operation.deprecated);
    expect(deprecated.map(({ name }) => name)).toEqual(second.map(({ name }) => name));
    for (const { operationId } of second) expect(operationId).toMatch(/Deprecated$/);
  });

  it('has one body of success an operation, but for an export, whose format is chosen', () => {
    for (const { name, operationId, responses } of operations) {
      const bodies = Object.entries(responses)
        .filter(([status]) => status.startsWith('2'))
        .flatMap(([, { content = {} }]) =>
          Object.entries(content).map(([type, { schema }]) => `${type} ${JSON.stringify(schema)}`),
        );
      const expected = operationId.startsWith('exportEvents') ? 5 : 1;
      expect({ name, bodies: new Set(bodies).size }).toEqual({ name, bodies: expected });
    }
  });

  it('has one kind of request body an operation', () => {
    for (const { name, requestBody } of operations) {
      const types = Object.keys(requestBody?.content ?? { none: {} });
      expect({ name, types: types.length }).toEqual({ name, types: 1 });
    }
  });

  it('describes errors by reference, those of any operation as `default`', () => {
    for (const { name, operationId, responses } of operations) {
      const errors = Object.entries(responses).filter(
        ([status]) => !/^[23]/.test(status) && !(operationId.startsWith('get') && status === '503'),
      );
      for (const [status, { $ref }] of errors) {
        expect({ name, status, $ref }).toMatchObject({ $ref: expect.any(String) });
      }
      expect(Object.keys(responses)).toContain('default');
      expect({ name, count: errors.length <= 6 }).toEqual({ name, count: true });
    }
  });
});
