import { Logger } from '@nestjs/common';
import type { Express, RequestHandler, Response } from 'express';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';

const HERE = join(__dirname, 'graphiql');
const PAGE = 'page.html';

/** What the page loads: the bundles for browsers of these packages, as they are, and a script of ours. */
const OF_PACKAGES: [name: string, path: string][] = [
  ['react', 'umd/react.production.min.js'],
  ['react-dom', 'umd/react-dom.production.min.js'],
  ['graphql-ws', 'umd/graphql-ws.min.js'],
  ['graphiql', 'graphiql.min.js'],
  ['graphiql', 'graphiql.min.css'],
];

/** What the door answers programs; who ranks HTML above these is somebody at a browser. */
const JSON_TYPES = ['application/json', 'application/graphql-response+json'];

const MEDIA_TYPES: Record<string, string> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
};

/**
 * Of the page alone. Nothing but what this service serves is run or loaded; the editor writes style elements, and has
 * its fonts and icons as data URLs in its style sheet.
 */
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

/** Browsers ask each time whether it is still the same, so that none shows last week's after an update. */
function send(response: Response, { bytes, type, etag }: Asset): void {
  response.set({ 'Content-Type': type, 'Cache-Control': 'no-cache', ETag: etag });
  response.send(bytes);
}

/**
 * Serves GraphiQL: the page to browsers that `GET /graphql`, which every other client is answered at as without it, and
 * what it loads under `/graphiql/`. Needs no network beyond this service. Its packages are dependencies of development:
 * where they are not installed the log says so, and browsers are answered as programs are.
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
    if (request.accepts([...JSON_TYPES, 'text/html']) !== 'text/html') return next();
    response.set('Content-Security-Policy', CONTENT_SECURITY_POLICY);
    send(response, page);
  };
}
