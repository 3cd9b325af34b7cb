// Bundles what browsers load: the console into dist/web, which the service serves; with --element also the element into
// packages/viewer/dist, and with --types its types. esbuild is its build for WebAssembly, without programs of a platform: an install without optional dependencies, as in
// the image, has all of it.
// Usage: node scripts/build-web.mjs [--element] [--types]
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, stop, transform } from 'esbuild-wasm';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const source = (...path) => join(root, 'packages', ...path);

const isAsked = (flag) => process.argv.includes(flag);

const CONSOLE = [
  [source('console', 'src', 'console.ts'), join(root, 'dist', 'web', 'console.js')],
  [source('console', 'src', 'console.css'), join(root, 'dist', 'web', 'console.css')],
];
const ELEMENT = [
  [source('viewer', 'src', 'element.ts'), source('viewer', 'dist', 'audit-log-viewer.mjs')],
  [source('viewer', 'src', 'react.ts'), source('viewer', 'dist', 'react.mjs')],
];

/** Style sheets that a script imports are texts, without spaces that mean nothing. */
const styleTexts = {
  name: 'style texts',
  setup({ onLoad }) {
    onLoad({ filter: /\.css$/ }, async ({ path, with: { type } }) => {
      if (type !== 'text') return undefined;
      const { code } = await transform(readFileSync(path, 'utf8'), { loader: 'css', minify: true });
      return { contents: code.trim(), loader: 'text' };
    });
  },
};

async function bundle(entry, outfile) {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile,
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    charset: 'utf8',
    logLevel: 'warning',
    // That of the page.
    external: ['react'],
    plugins: [styleTexts],
    write: false,
  });
  for (const { path, contents } of outputFiles) {
    mkdirSync(dirname(path), { recursive: true });
    // In one step: a service or a spec that starts meanwhile reads the old file or the new one.
    const temporary = join(dirname(path), `.${basename(path)}.${process.pid}`);
    writeFileSync(temporary, contents);
    renameSync(temporary, path);
  }
}

try {
  for (const [entry, outfile] of [...CONSOLE, ...(isAsked('--element') ? ELEMENT : [])])
    await bundle(entry, outfile);
} finally {
  await stop();
}
if (isAsked('--types')) {
  const compiler = join(dirname(createRequire(import.meta.url).resolve('typescript')), 'tsc.js');
  const { status } = spawnSync(process.execPath, [compiler, '-p', source('viewer')], {
    stdio: 'inherit',
  });
  if (status !== 0) process.exitCode = 1;
}
