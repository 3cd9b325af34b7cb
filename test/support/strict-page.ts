import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Page } from 'playwright-core';

/** In the browser, where a function of this file runs. */
declare function addEventListener(
  type: string,
  listener: (event: Record<string, string>) => void,
): void;

/** A page of another origin, and scripts (by path), with the strictest policy under which it can load the element and reach the service. */
export async function serveStrictPage(
  files: Readonly<Record<string, () => string>>,
  body: string,
): Promise<{ server: Server; origin: string; serviceUrl: (url: string) => void }> {
  let connect = "'none'";
  const server = createServer((request, response) => {
    const file = files[request.url ?? ''];
    if (file) {
      response.setHeader('Content-Type', 'text/javascript');
      response.end(file());
      return;
    }
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    response.setHeader(
      'Content-Security-Policy',
      [
        "default-src 'none'",
        "script-src 'self'",
        `connect-src ${connect}`,
        'img-src data:',
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
      ].join('; '),
    );
    response.end(
      `<!doctype html><html lang="en"><title>Host</title><link rel="icon" href="data:,">${body}`,
    );
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { server, origin, serviceUrl: (url) => (connect = url) };
}

/** Collects violations of the Content-Security-Policy, and dialogs, which only a script that should not run would open. */
export async function watchPolicy(page: Page): Promise<string[]> {
  const found: string[] = [];
  await page.exposeFunction('reportViolation', (text: string) => found.push(text));
  await page.addInitScript(() => {
    const { reportViolation } = globalThis as unknown as {
      reportViolation: (text: string) => void;
    };
    addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI, sample }) =>
      reportViolation(`${violatedDirective} ${blockedURI} ${sample}`),
    );
  });
  page.on('dialog', (dialog) => {
    found.push(`dialog: ${dialog.message()}`);
    dialog.dismiss().catch(() => undefined);
  });
  return found;
}
