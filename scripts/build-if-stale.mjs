// Builds dist/ if a source file is newer than the last build, so that `npm start`, `npm run token` and `npm run import`
// work on a fresh clone and start at once afterwards. A production install has neither sources nor compiler: dist/ is
// used unchanged.
// Usage: node --import ./scripts/build-if-stale.mjs dist/main.js
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const marker = join(root, 'dist', 'main.js');
const compiler = join(root, 'node_modules', '@nestjs', 'cli', 'bin', 'nest.js');

function newest(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(stat.mtimeMs, ...readdirSync(path).map((name) => newest(join(path, name))));
}

const inputs = [
  'src',
  'packages/viewer/src',
  'packages/console/src',
  'scripts/build-web.mjs',
  'tsconfig.json',
  'tsconfig.build.json',
  'nest-cli.json',
  'package-lock.json',
]
  .map((name) => join(root, name))
  .filter((path) => existsSync(path));
const stale =
  isMainThread && // threads inherit --import
  (!existsSync(marker) || Math.max(...inputs.map(newest)) > statSync(marker).mtimeMs);

if (stale && existsSync(join(root, 'src')) && existsSync(compiler)) {
  process.stderr.write('Building…\n');
  // Compiler output goes to stderr: the stdout of `npm run -s token` is the token alone.
  const options = { cwd: root, stdio: ['ignore', 2, 2] };
  execFileSync(process.execPath, [compiler, 'build'], options);
  execFileSync(process.execPath, [join(root, 'scripts', 'build-web.mjs')], options);
} else if (!existsSync(marker)) {
  process.stderr.write('There is no dist/ and no compiler to make it: run `npm ci` first.\n');
  process.exit(1);
}
