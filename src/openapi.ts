import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { PROBLEM_JSON } from './platform/errors/problem';
import { problemExamples } from './http/problem.openapi';
import { SHARED_HEADERS } from './http/operation.openapi';
import { packageVersion } from './platform/config/load-environment';

type PathItem = OpenAPIObject['paths'][string];
type OperationObject = NonNullable<PathItem['get']>;
type ResponseObject = Exclude<OperationObject['responses'][string], { $ref: string } | undefined>;
type Json = Record<string, unknown>;

const DESCRIPTION = `Who did what to what, when and with what outcome.

Every route but the probes, \`/metrics\` and \`/docs\` wants \`Authorization: Bearer <JWT>\`. Lists, counts and single events show only the
organizations that the token names. Errors are RFC 9457 problem documents whose \`code\` names the kind: operations name those that are their
own, and \`default\` is any other. A path that
does not exist is answered with \`NOT_FOUND\`, a method that a path does not have with \`METHOD_NOT_ALLOWED\` and
\`Allow\`. \`X-Request-Id\` of a request comes back in its answer. Answers to reads are compressed when \`Accept-Encoding\` allows it.`;

/** Second paths of the same handlers: deprecated, and answered alike. */
const SECOND_PATHS: [string, string][] = [['/api/v1/performance/audit', '/api/v1/audit']];

/** OpenAPI 3.1 description of all REST routes: the same code gives the same order. */
export function openApiDocument(app: INestApplication): OpenAPIObject {
  const config = new DocumentBuilder()
    .setOpenAPIVersion('3.1.0')
    .setTitle('Audit server')
    .setDescription(DESCRIPTION)
    .setVersion(packageVersion())
    .setLicense('Apache-2.0', 'https://www.apache.org/licenses/LICENSE-2.0')
    .addServer('/', 'This service')
    .addTag('audit events', 'Recording and reading audit events.')
    .addTag('schemas', 'What events of an action have to look like.')
    .addTag('authentication', 'Tickets for browsers.')
    .addTag('performance', 'How the service does, and what operators can do about it.')
    .addTag('health', 'Probes; no token needed.')
    .addBearerAuth({
      type: 'http',
      scheme: 'bearer',
      bearerFormat: 'JWT',
      description: 'A signed JWT with `sub`, `exp`, `scope` and `organizations`.',
    })
    .addSecurity('ticket', {
      type: 'apiKey',
      in: 'query',
      name: 'ticket',
      description:
        'A ticket of `POST /api/v1/auth/tickets`, for `EventSource` in browsers: it opens one feed, once, and stands for the token that it was issued for.',
    })
    .build();
  config.components = { ...config.components, headers: SHARED_HEADERS };
  const document = SwaggerModule.createDocument(app, config);
  for (const [path, item] of Object.entries(document.paths)) describePath(path, item);
  closeRequestSchemas(document);
  shareProblems(document);
  document.paths = sorted(document.paths);
  document.components = sorted(
    Object.fromEntries(
      Object.entries(document.components ?? {}).map(([kind, all]) => [kind, sorted(all as Json)]),
    ),
  );
  return document;
}

function describePath(path: string, item: PathItem): void {
  for (const [method, operation] of Object.entries(item) as [string, OperationObject][]) {
    operation.responses = sorted(operation.responses);
    const [scope] = (operation.security ?? []).flatMap(({ bearer = [] }) => bearer);
    if (scope !== undefined) operation.description += `\n\nScope: \`${scope}\`.`;
    for (const [second, first] of SECOND_PATHS) {
      if (!path.startsWith(second)) continue;
      const same = `${method.toUpperCase()} ${path.replace(second, first)}`;
      operation.description = `The same as \`${same}\`. ${operation.description ?? ''}`.trim();
      operation.operationId = `${operation.operationId}Deprecated`;
      operation.deprecated = true;
    }
  }
}

/** The validator refuses unknown members of bodies. */
function closeRequestSchemas(document: OpenAPIObject): void {
  const schemas = (document.components?.schemas ?? {}) as Record<string, Json>;
  const open = Object.values(document.paths).flatMap((item) => namesIn(item.post?.requestBody));
  const seen = new Set<string>();
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const schema = schemas[name];
    if (seen.has(name) || !schema) continue;
    seen.add(name);
    schema.additionalProperties = false;
    open.push(...namesIn(schema));
  }
}

/**
 * Describes each error response once, without unused examples. The errors that any operation may return are in two
 * responses: `Problem`, and `ProblemWithoutToken` of operations that need no token.
 */
function shareProblems(document: OpenAPIObject): void {
  const shared: Record<string, ResponseObject> = {};
  for (const item of Object.values(document.paths)) {
    for (const operation of Object.values(item) as OperationObject[]) {
      for (const [status, response] of Object.entries(operation.responses)) {
        const { content } = response as ResponseObject;
        // Others have a schema of their own.
        const isShared = Object.values(content ?? {}).every(
          ({ schema }) => schema && '$ref' in schema,
        );
        if (!content || !(PROBLEM_JSON in content) || !isShared) continue;
        const codes = Object.keys(content[PROBLEM_JSON]?.examples ?? {});
        const problem = status === 'default' ? commonNameOf(operation) : codes.join('.');
        const name = Object.keys(content).length === 1 ? problem : `${problem}.Status`;
        shared[name] = response as ResponseObject;
        operation.responses[status] = { $ref: `#/components/responses/${name}` };
      }
    }
  }
  const text = JSON.stringify([document.paths, shared]);
  const examples = Object.entries(problemExamples()).filter(([code]) =>
    text.includes(`"#/components/examples/${code}"`),
  );
  document.components = {
    ...document.components,
    responses: shared,
    examples: Object.fromEntries(examples),
  };
}

function commonNameOf({ security = [] }: OperationObject): string {
  return security.length > 0 ? 'Problem' : 'ProblemWithoutToken';
}

function namesIn(part: unknown): string[] {
  const text = JSON.stringify(part ?? null);
  return [...text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)].map(([, name = '']) => name);
}

function sorted<T extends object>(record: T): T {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1))) as T;
}
