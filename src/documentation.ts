import type { NestExpressApplication } from '@nestjs/platform-express';
import type { OpenAPIObject } from '@nestjs/swagger';
import type { NextFunction, Request, Response } from 'express';
import { dump } from 'js-yaml';
import { LRUCache } from 'lru-cache';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { forwardedPrefix } from './http/request-context';
import type { StaticAssets } from './http/static-assets';
import { sendStatic, StaticContent } from './http/static-content';
import { openApiDocument } from './openapi';

/** Runs in the browser. Paths are relative to the script, so that the page works behind any prefix of a proxy. */
const START = `'use strict';
const urlOf = (path) => new URL(path, document.currentScript.src).href;
window.ui = SwaggerUIBundle({
  url: urlOf('../docs-json'),
  dom_id: '#swagger-ui',
  deepLinking: true,
  // The badge would send this service's address to a validator on the internet.
  validatorUrl: null,
  onComplete: () => dispatchEvent(new Event('documented')),
});
`;

/** Puts the development token into the API reference, once that knows the schemes of the document. */
const FILL_IN_TOKEN = `'use strict';
{
  const { src } = document.currentScript;
  addEventListener('documented', async () => {
    const response = await fetch(new URL('../development-token', src));
    if (response.ok) ui.preauthorizeApiKey('bearer', (await response.json()).token);
  });
}
`;

/**
 * Browsers revalidate each time. Caches that obey CDN-Cache-Control (RFC 9213) ask again after five minutes, or are told
 * by a purge of the keys.
 */
const DOCUMENT_HEADERS = {
  'Cache-Control': 'no-cache',
  'CDN-Cache-Control': 'public, max-age=300',
};
/** The cache key of a shared cache does not have the prefix, which a header of the request named. */
const PREFIXED_HEADERS = { 'Cache-Control': 'private, no-cache' };

/** Proxies have few prefixes. */
const MAX_DOCUMENTS = 8;

type Serialize = (document: object) => string;
const FORMATS: [path: string, type: string, serialize: Serialize][] = [
  ['/docs-json', 'application/json; charset=utf-8', (document) => JSON.stringify(document)],
  [
    '/docs-yaml',
    'text/yaml; charset=utf-8',
    (document) => dump(document, { skipInvalid: true, noRefs: true }),
  ],
];

/** Adds what the page loads to `assets`; `base` leads from the page to the root of the service. */
function pageWith(assets: StaticAssets, isDevelopment: boolean): (base: string) => string {
  const folder = dirname(require.resolve('swagger-ui-dist/package.json'));
  const packaged = (name: string) => assets.add(name, readFileSync(join(folder, name)));
  const icon = packaged('favicon-32x32.png');
  const style = packaged('swagger-ui.css');
  const scripts = [
    packaged('swagger-ui-bundle.js'),
    ...(isDevelopment ? [assets.add('development-token.js', Buffer.from(FILL_IN_TOKEN))] : []),
    assets.add('docs.js', Buffer.from(START)),
  ];
  return (base) =>
    [
      '<!doctype html>',
      '<html lang="en">',
      '  <head>',
      '    <meta charset="utf-8" />',
      '    <title>Audit server</title>',
      `    <link rel="icon" type="image/png" href="${base}${icon}" />`,
      `    <link rel="stylesheet" href="${base}${style}" />`,
      ...scripts.map((script) => `    <script defer src="${base}${script}"></script>`),
      '  </head>',
      '  <body style="margin: 0">',
      '    <div id="swagger-ui"></div>',
      '  </body>',
      '</html>',
      '',
    ].join('\n');
}

/** /docs (Swagger UI), /docs-json and /docs-yaml; in development the page has a token. */
export function serveDocumentation(
  app: NestExpressApplication,
  assets: StaticAssets,
  isDevelopment: boolean,
): void {
  const application = app.getHttpAdapter().getInstance();
  const htmlAt = pageWith(assets, isDevelopment);
  const contentAt = (base: string) =>
    new StaticContent(Buffer.from(htmlAt(base)), 'text/html; charset=utf-8');
  const [page, pageBelow] = [contentAt(''), contentAt('../')];
  const keys = (surrogateKey: string) => ({ ...DOCUMENT_HEADERS, 'Surrogate-Key': surrogateKey });
  application.get('/docs', (request: Request, response: Response, next: NextFunction) => {
    const content = request.path.endsWith('/') ? pageBelow : page;
    sendStatic(request, response, content, keys('docs')).catch(next);
  });
  const documents = new OpenApiDocuments(() => openApiDocument(app));
  for (const [path, type, serialize] of FORMATS) {
    application.get(path, (request: Request, response: Response, next: NextFunction) => {
      const prefix = forwardedPrefix(response);
      const content = documents.get(prefix, type, serialize);
      const headers = prefix === '' ? keys('docs openapi') : PREFIXED_HEADERS;
      sendStatic(request, response, content, headers).catch(next);
    });
  }
}

/** The document in each format and with each prefix requested so far; made on demand, as routes are mounted later. */
class OpenApiDocuments {
  private document: OpenAPIObject | undefined;
  private readonly contents = new LRUCache<string, StaticContent>({ max: MAX_DOCUMENTS });

  constructor(private readonly create: () => OpenAPIObject) {}

  get(prefix: string, type: string, serialize: Serialize): StaticContent {
    const key = `${type} ${prefix}`;
    let content = this.contents.get(key);
    if (!content) {
      this.document ??= this.create();
      const servers = [{ url: prefix, description: 'This service' }];
      const document = prefix === '' ? this.document : { ...this.document, servers };
      content = new StaticContent(Buffer.from(serialize(document)), type);
      this.contents.set(key, content);
    }
    return content;
  }
}
