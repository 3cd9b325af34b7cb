import { spawnSync } from 'node:child_process';
import { type Browser, chromium, type Page } from 'playwright-core';

/** Names of the program: Debian, other distributions, Google's build. */
const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

/** Path of Chromium on the PATH; undefined, with a warning, where there is none. With CI=true an error. */
export function findChromium(): string | undefined {
  const found = spawnSync('sh', ['-c', NAMES.map((name) => `command -v ${name}`).join(' || ')]);
  const path = String(found.stdout).trim();
  if (path !== '') return path;
  if (process.env['CI'] === 'true') throw new Error('CI=true needs chromium on the PATH');
  process.stderr.write('\n*** NO chromium ON THE PATH: PAGES ARE NOT TESTED IN A BROWSER ***\n\n');
  return undefined;
}

/** Starts Chromium without a window. Its sandbox does not work for root. */
export function launchChromium(executablePath: string): Promise<Browser> {
  return chromium.launch({ executablePath, chromiumSandbox: process.geteuid?.() !== 0 });
}

/** What went wrong on a page: messages of its console, uncaught errors, failed requests, and requests to other hosts. */
export function watchPage(page: Page, origin: string): string[] {
  const faults: string[] = [];
  page.on('console', (message) => {
    const type = message.type();
    if (type === 'error' || type === 'warning') faults.push(`${type}: ${message.text()}`);
  });
  page.on('pageerror', (error) => faults.push(`uncaught: ${error.message}`));
  page.on('requestfailed', (request) => faults.push(`failed: ${request.url()}`));
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (url.protocol !== 'data:' && url.protocol !== 'blob:' && url.origin !== origin)
      faults.push(`elsewhere: ${url.href}`);
  });
  return faults;
}
