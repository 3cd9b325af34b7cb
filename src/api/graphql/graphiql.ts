import { Logger } from '@nestjs/common';
import type { Express, RequestHandler } from 'express';
import { readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { preferredMediaType } from '../../http/negotiation';
import type { StaticAssets } from '../../http/static-assets';
import { sendStatic, StaticContent } from '../../http/static-content';

const HERE = join(__dirname, 'graphiql');

/** Bundles for browsers that the page loads. */
const OF_PACKAGES: [name: string, path: string][] = [
  ['react', 'umd/react.production.min.js'],
  ['react-dom', 'umd/react-dom.production.min.js'],
  ['graphql-ws', 'umd/graphql-ws.min.js'],
  ['graphiql', 'graphiql.min.js'],
  ['graphiql', 'graphiql.min.css'],
];

/** Response types of operations; a client that ranks HTML above these is a browser. */
const JSON_TYPES = ['application/json', 'application/graphql-response+json'];

/** The page runs and loads only what this service serves; its editor writes style elements, and has fonts and icons as data URLs. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "connect-src 'self'",
  "img-src 'self' data:",
  'font-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

function folderOf(name: string): string {
  return dirname(require.resolve(`${name}/package.json`));
}

/** The page, with the hashed names of what it loads. */
function pageWith(assets: StaticAssets, packageFolder: (name: string) => string): StaticContent {
  let html = readFileSync(join(HERE, 'page.html'), 'utf8');
  const files = OF_PACKAGES.map(([name, path]) => join(packageFolder(name), path));
  const contents = [...files, join(HERE, 'page.js')].map(
    (file) => [basename(file), readFileSync(file)] as const,
  );
  for (const [name, bytes] of contents) {
    html = html.replace(`"graphiql/${name}"`, () => `"${assets.add(name, bytes)}"`);
  }
  return new StaticContent(Buffer.from(html), 'text/html; charset=utf-8');
}

/**
 * Serves GraphiQL: the page to browsers that `GET /graphql`, and what it loads from `assets`, without any other host.
 * Its packages are development dependencies: where they are not installed the log says so, and there is no page.
 */
export function serveGraphiql(
  application: Express,
  assets: StaticAssets,
  packageFolder = folderOf,
): void {
  let page: StaticContent;
  try {
    page = pageWith(assets, packageFolder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'MODULE_NOT_FOUND' && code !== 'ENOENT') throw error;
    new Logger('GraphiQL').warn(
      'Not installed, so browsers get no page at /graphql: `npm ci` without --omit=dev installs it.',
    );
    return;
  }
  application.get('/graphql', pageTo(page));
}

function pageTo(page: StaticContent): RequestHandler {
  return (request, response, next) => {
    response.vary('Accept');
    const type = preferredMediaType(request.headers.accept, [...JSON_TYPES, 'text/html']);
    if (type !== 'text/html') return next();
    // The URL is that of operations: no shared cache keeps it.
    const headers = {
      'Cache-Control': 'private, no-cache',
      'Content-Security-Policy': CONTENT_SECURITY_POLICY,
    };
    sendStatic(request, response, page, headers).catch(next);
  };
}
