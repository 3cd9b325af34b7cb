import { Logger } from '@nestjs/common';
import type { Express, Request, Response } from 'express';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { forwardedPrefix } from './http/request-context';
import type { StaticAssets } from './http/static-assets';
import { sendStatic, StaticContent } from './http/static-content';

/** Made by scripts/build-web.mjs beside the compiled service; from `src`, as in tests, and from `dist` it is the same folder. */
const FOLDER = join(__dirname, '..', 'dist', 'web');

const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="4" fill="#1d5bd8"/>\
<path d="M4 5h8M4 8h8M4 11h5" stroke="#fff" stroke-width="1.6" stroke-linecap="round"/></svg>`;

/** The page runs and loads what this service serves, and nothing makes markup of a text (Trusted Types). */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

/** `/` shares its URL with JSON, and the page has paths from the request: no shared cache keeps it. */
const HEADERS = {
  'Cache-Control': 'private, no-cache',
  'Content-Security-Policy': CONTENT_SECURITY_POLICY,
};

/** Sends the page of the console. */
export type SendConsole = (request: Request, response: Response) => Promise<void>;

/**
 * Serves the console at `/console`, and what it loads from `assets`. The page holds nothing of tenants: events come through the public
 * API, with the token of the person who is signed in.
 * @param links paths that this service serves, by name.
 * @returns the same for `/`; undefined, with a warning, where the build has no console.
 */
export function serveConsole(
  application: Express,
  assets: StaticAssets,
  links: Readonly<Record<string, string>>,
  folder = FOLDER,
): SendConsole | undefined {
  let files: Buffer[];
  try {
    files = ['console.js', 'console.css'].map((name) => readFileSync(join(folder, name)));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    new Logger('Console').warn('Not built, so there is no console: `npm run build` builds it.');
    return undefined;
  }
  const [script = Buffer.of(), style = Buffer.of()] = files;
  const paths = {
    script: assets.add('console.js', script),
    style: assets.add('console.css', style),
    icon: assets.add('console.svg', Buffer.from(ICON)),
  };
  const send: SendConsole = (request, response) => {
    const html = pageWith(paths, links, `${forwardedPrefix(response)}/`);
    const content = new StaticContent(Buffer.from(html), 'text/html; charset=utf-8');
    return sendStatic(request, response, content, HEADERS);
  };
  application.get('/console', (request, response, next) => {
    send(request, response).catch(next);
  });
  return send;
}

/** @param root path of the service in front of those of its assets and links. */
function pageWith(
  { script, style, icon }: Record<'script' | 'style' | 'icon', string>,
  links: Readonly<Record<string, string>>,
  root: string,
): string {
  const items = Object.entries(links).map(
    ([name, path]) => `        <a href="${root}${path.slice(1)}">${name}</a>`,
  );
  return [
    '<!doctype html>',
    '<html lang="en">',
    '  <head>',
    '    <meta charset="utf-8" />',
    '    <meta name="viewport" content="width=device-width, initial-scale=1" />',
    '    <title>Audit log</title>',
    `    <link rel="icon" type="image/svg+xml" href="${root}${icon}" />`,
    `    <link rel="stylesheet" href="${root}${style}" />`,
    `    <script type="module" src="${root}${script}"></script>`,
    '  </head>',
    '  <body>',
    '    <header>',
    '      <h1>Audit log</h1>',
    '      <nav aria-label="Service">',
    ...items,
    '      </nav>',
    '      <div id="session"></div>',
    '    </header>',
    '    <main><noscript>The console needs JavaScript.</noscript></main>',
    '  </body>',
    '</html>',
    '',
  ].join('\n');
}
