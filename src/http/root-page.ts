import type { Request, RequestHandler, Response } from 'express';
import { AppError } from '../platform/errors/app-error';
import { preferredMediaType } from './negotiation';
import { forwardedPrefix } from './request-context';
import { sendStatic, StaticContent } from './static-content';

/** The URL has two representations, with paths that depend on the request: caches that ignore Vary must revalidate. */
const HEADERS = { 'Cache-Control': 'no-cache' };

export interface RootPage {
  name: string;
  version: string;
  /** Paths of the service by name. */
  links: Readonly<Record<string, string>>;
  /** Sends the page for browsers; without it there is one of links. */
  sendPage?: ((request: Request, response: Response) => Promise<void>) | undefined;
}

/**
 * Serves `/`: name, version and links, as JSON, or to browsers as a page: that of `sendPage`, or one without scripts and
 * styles, which the Content-Security-Policy of all responses forbids. It has no data of tenants.
 */
export function rootPage({ name, version, links, sendPage }: RootPage): RequestHandler {
  return (request, response, next) => {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      const headers = { Allow: 'GET, HEAD' };
      throw new AppError('METHOD_NOT_ALLOWED', 'Allowed: GET, HEAD.', { headers });
    }
    response.vary('Accept');
    const type = preferredMediaType(request.headers.accept, ['application/json', 'text/html']);
    if (type === undefined) {
      throw new AppError('NOT_ACCEPTABLE', 'Available: application/json, text/html.');
    }
    if (sendPage && type === 'text/html') {
      sendPage(request, response).catch(next);
      return;
    }
    const prefix = forwardedPrefix(response);
    const targets = Object.entries(links).map(([key, path]) => [key, `${prefix}${path}`] as const);
    const text =
      type === 'application/json'
        ? JSON.stringify({ name, version, links: Object.fromEntries(targets) })
        : htmlWith(`${name} ${version}`, targets);
    const content = new StaticContent(Buffer.from(text), `${type}; charset=utf-8`);
    sendStatic(request, response, content, HEADERS).catch(next);
  };
}

function htmlWith(title: string, targets: (readonly [string, string])[]): string {
  const items = targets.map(([key, path]) => `      <li><a href="${path}">${key}</a></li>`);
  return [
    '<!doctype html>',
    '<html lang="en">',
    '  <head>',
    '    <meta charset="utf-8" />',
    `    <title>${title}</title>`,
    '  </head>',
    '  <body>',
    `    <h1>${title}</h1>`,
    '    <ul>',
    ...items,
    '    </ul>',
    '  </body>',
    '</html>',
    '',
  ].join('\n');
}
