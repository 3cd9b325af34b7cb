// Draws the badges of the README from package.json, the OpenAPI document and the bench results.
// `node scripts/badges.mjs` writes them, `--check` fails if one is outdated.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const read = (path) => JSON.parse(readFileSync(join(root, path), 'utf8'));
const manifest = read('package.json');
const BADGES = {
  node: ['Node.js', manifest.engines.node.replace('>=', '≥ ')],
  licence: ['licence', manifest.license],
  openapi: ['OpenAPI', read('docs/openapi.json').openapi],
};
/** Approximate, for 11 px Verdana; with another font the text is stretched to it. */
const CHARACTER_WIDTH = 7;
const PADDING = 12;

let stale = 0;
for (const [name, [label, value]] of Object.entries(BADGES)) {
  const file = join(root, `docs/images/badge-${name}.svg`);
  const svg = badge(label, value);
  if (!process.argv.includes('--check')) writeFileSync(file, svg);
  else if (textOf(file) !== svg) {
    console.error(`${file} is not up to date: node scripts/badges.mjs`);
    stale += 1;
  }
}
process.exitCode = stale > 0 ? 1 : 0;

function textOf(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

function badge(label, value) {
  const [left, right] = [label, value].map((text) => text.length * CHARACTER_WIDTH + PADDING);
  const text = (at, width, words) =>
    `<text x="${at + width / 2}" y="14" textLength="${width - PADDING}" lengthAdjust="spacingAndGlyphs">${words}</text>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${left + right}" height="20" role="img" aria-label="${label}: ${value}">
  <rect width="${left}" height="20" rx="3" fill="#444"/>
  <rect x="${left}" width="${right}" height="20" rx="3" fill="#1f6feb"/>
  <g fill="#fff" text-anchor="middle" font-family="Verdana,sans-serif" font-size="11">
    ${text(0, left, label)}
    ${text(left, right, value)}
  </g>
</svg>
`;
}
