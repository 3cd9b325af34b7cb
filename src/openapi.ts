import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';

type OperationObject = NonNullable<OpenAPIObject['paths'][string]['get']>;

const DESCRIPTION = `Who did what to what, when and with what outcome.

Every route but the probes wants \`Authorization: Bearer <JWT>\`. Lists, counts and single events show only the
organizations that the token names. Errors are RFC 9457 problem documents whose \`code\` names the kind.`;

/** The OpenAPI description of all REST routes. */
export function openApiDocument(app: INestApplication): OpenAPIObject {
  const config = new DocumentBuilder()
    .setTitle('Audit server')
    .setDescription(DESCRIPTION)
    .setVersion('1.0')
    .setLicense('Apache-2.0', 'https://www.apache.org/licenses/LICENSE-2.0')
    .addServer('/', 'This service')
    .addTag('audit events', 'Recording and reading audit events.')
    .addTag('health', 'Probes; no token needed.')
    .addBearerAuth({ type: 'http', scheme: 'bearer', bearerFormat: 'JWT' })
    .build();
  const document = SwaggerModule.createDocument(app, config);
  for (const [path, item] of Object.entries(document.paths)) {
    for (const operation of Object.values(item) as OperationObject[]) {
      operation.operationId = operationIdOf(path, operation.operationId);
    }
  }
  return document;
}

/** `AuditController_findPage[1]` -> `performanceAudit_findPage`: short, and different on the second path of a route. */
function operationIdOf(path: string, given = ''): string {
  const [controller = '', method = ''] = given.replace(/\[\d+\]$/, '').split('_');
  const name = controller.replace('Controller', '');
  const prefix = path.startsWith('/api/v1/performance/audit') ? `Performance${name}` : name;
  return `${prefix.charAt(0).toLowerCase()}${prefix.slice(1)}_${method}`;
}

/** Serves the description: for people at /docs, for programs at /docs-json. */
export function serveDocumentation(app: INestApplication): void {
  SwaggerModule.setup('docs', app, () => openApiDocument(app), {
    jsonDocumentUrl: 'docs-json',
    yamlDocumentUrl: 'docs-yaml',
    customSiteTitle: 'Audit server',
  });
}
