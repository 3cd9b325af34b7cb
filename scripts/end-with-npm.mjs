// Ends the service in order when npm has been ended: npm forwards SIGTERM to the shell that it runs a script with, and most
// shells end without forwarding it. (`exec` would replace the shell, but the one of Windows has none.)
// Usage: node --import ./scripts/end-with-npm.mjs dist/main.js, before other imports: it remembers the shell.
import { isMainThread } from 'node:worker_threads';

const INTERVAL_MS = 100;
const shell = process.ppid;

if (isMainThread && process.env.npm_lifecycle_event !== undefined) {
  const watch = setInterval(() => {
    if (process.ppid === shell) return;
    clearInterval(watch);
    process.kill(process.pid, 'SIGTERM');
  }, INTERVAL_MS).unref();
}
