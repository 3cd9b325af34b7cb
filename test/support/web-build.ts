import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

const ROOT = join(__dirname, '..', '..');

/** The element as others install it. */
export const VIEWER_BUNDLE = join(ROOT, 'packages', 'viewer', 'dist', 'audit-log-viewer.mjs');
/** The console as the service serves it. */
export const CONSOLE_BUNDLE = join(ROOT, 'dist', 'web', 'console.js');

/** Builds what browsers load, from the sources as they are. */
export function buildWeb(): void {
  execFileSync(process.execPath, [join(ROOT, 'scripts', 'build-web.mjs'), '--element'], {
    stdio: 'pipe',
  });
}
