import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

const ROOT = join(__dirname, '..', '..');

/** The element as others install it. */
export const VIEWER_BUNDLE = join(ROOT, 'packages', 'viewer', 'dist', 'audit-log-viewer.mjs');
/** The console as the service serves it. */
export const CONSOLE_BUNDLE = join(ROOT, 'dist', 'web', 'console.js');

/** The component of React; the page has React itself. */
const REACT_BUNDLE = join(ROOT, 'packages', 'viewer', 'dist', 'react.mjs');

/** A page of React 18 with the element, as its author would bundle it. `code` is its module, behind the imports. */
export function bundleReactPage(code: string): string {
  const imports = [
    `import { createElement } from 'react';`,
    `import { createRoot } from 'react-dom/client';`,
    `import { AuditLog } from ${JSON.stringify(REACT_BUNDLE)};`,
    `import ${JSON.stringify(VIEWER_BUNDLE)};`,
  ];
  const esbuild = join(ROOT, 'node_modules', 'esbuild-wasm', 'bin', 'esbuild');
  const options = ['--bundle', '--format=esm', '--define:process.env.NODE_ENV="production"'];
  const input = [...imports, code].join('\n');
  const result = execFileSync(process.execPath, [esbuild, ...options, '--log-level=error'], {
    cwd: ROOT,
    input,
    maxBuffer: 10_000_000,
  });
  return result.toString();
}

/** Builds what browsers load, from the sources as they are. */
export function buildWeb(): void {
  execFileSync(process.execPath, [join(ROOT, 'scripts', 'build-web.mjs'), '--element'], {
    stdio: 'pipe',
  });
}
