import { Logger } from '@nestjs/common';
import type { Express, RequestHandler, Response } from 'express';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { preferredMediaType } from '../../http/negotiation';

const HERE = join(__dirname, 'graphiql');
const PAGE = 'page.html';

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

const MEDIA_TYPES: Record<string, string> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
};

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

interface Asset {
  bytes: Buffer;
  type: string;
  etag: string;
}

function folderOf(name: string): string {
  return dirname(require.resolve(`${name}/package.json`));
}

function readAsset(file: string): Asset {
  const bytes = readFileSync(file);
  const digest = createHash('sha256').update(bytes).digest('base64url');
  return { bytes, type: MEDIA_TYPES[extname(file)] ?? '', etag: `"${digest}"` };
}

/** Sends an asset that browsers revalidate each time, so that none shows an old one after an update. */
function send(response: Response, { bytes, type, etag }: Asset): void {
  response.set({ 'Content-Type': type, 'Cache-Control': 'no-cache', ETag: etag });
  response.send(bytes);
}

/**
 * Serves GraphiQL: the page to browsers that `GET /graphql`, and what it loads under `/graphiql/`, without any other
 * host. Its packages are development dependencies: where they are not installed the log says so, and there is no page.
 */
export function serveGraphiql(application: Express, packageFolder = folderOf): void {
  let page: Asset;
  let assets: Map<string, Asset>;
  try {
    page = readAsset(join(HERE, PAGE));
    assets = new Map([['page.js', readAsset(join(HERE, 'page.js'))]]);
    for (const [name, path] of OF_PACKAGES) {
      const file = join(packageFolder(name), path);
      assets.set(path.replace(/^.*\//, ''), readAsset(file));
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'MODULE_NOT_FOUND' && code !== 'ENOENT') throw error;
    new Logger('GraphiQL').warn(
      'Not installed, so browsers get no page at /graphql: `npm ci` without --omit=dev installs it.',
    );
    return;
  }
  application.get('/graphql', pageTo(page));
  for (const [name, asset] of assets) {
    application.get(`/graphiql/${name}`, (_request, response) => send(response, asset));
  }
}

function pageTo(page: Asset): RequestHandler {
  return (request, response, next) => {
    response.vary('Accept');
    const type = preferredMediaType(request.headers.accept, [...JSON_TYPES, 'text/html']);
    if (type !== 'text/html') return next();
    response.set('Content-Security-Policy', CONTENT_SECURITY_POLICY);
    send(response, page);
  };
}
