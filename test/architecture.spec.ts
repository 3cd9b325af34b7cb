import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import ts from 'typescript';

/** Import rules by folder: the table of docs/architecture.md. `src/*.ts` and `src/cli` are wiring: they may import anything. */
const BASIC = ['platform/errors', 'platform/runtime', 'platform/config'];
const PLATFORM = [...BASIC, 'platform/database', 'platform/redis'];
const EVENT_PARTS = ['write', 'read', 'search', 'feed', 'export', 'ingest', 'schemas'].map(
  (part) => `audit/${part}`,
);
const CAPABILITIES = [
  'metrics',
  'auth',
  'validation',
  'http',
  'pagination',
  'caching',
  'concurrency',
  'streaming',
  'delivery',
  'maintenance',
  'profiling',
  'tickets',
];
const ADAPTERS_MAY = [
  ...BASIC,
  'audit',
  'audit/event',
  ...EVENT_PARTS,
  'audit/api',
  ...CAPABILITIES,
];
const ALLOWED: Record<string, string[]> = {
  'platform/errors': [],
  'platform/runtime': [],
  'platform/config': ['platform/errors', 'platform/runtime'],
  'platform/database': BASIC,
  'platform/redis': BASIC,
  'platform/logging': BASIC,
  metrics: [...BASIC, 'validation'],
  auth: BASIC,
  pagination: BASIC,
  validation: BASIC,
  http: [...BASIC, 'metrics', 'auth', 'validation'],
  delivery: [...BASIC, 'metrics'],
  caching: [...PLATFORM, 'metrics', 'http', 'validation'],
  concurrency: [...PLATFORM, 'metrics', 'auth', 'http'],
  streaming: [...PLATFORM, 'metrics'],
  maintenance: [...PLATFORM, 'metrics', 'validation'],
  profiling: [...BASIC, 'http', 'validation'],
  tickets: [...PLATFORM, 'auth', 'http', 'concurrency', 'validation'],
  'audit/event': [...BASIC, 'validation'],
  audit: [...PLATFORM, ...CAPABILITIES, 'audit/event', ...EVENT_PARTS, 'audit/api'],
  'api/graphql': ADAPTERS_MAY,
  'api/trpc': ADAPTERS_MAY,
  // What exports an indicator, and what every controller needs; never the domain.
  health: [...PLATFORM, ...CAPABILITIES],
  import: [...BASIC, 'platform/logging'],
  tracing: [...BASIC, 'http'],
};
for (const part of [...EVENT_PARTS, 'audit/api']) {
  ALLOWED[part] = [...PLATFORM, ...CAPABILITIES, 'audit/event', ...EVENT_PARTS];
}

/** What controllers of capabilities need to be routes at all (docs/adr/0008). */
const CONTROLLERS_NEED = new Set(['auth', 'http', 'validation']);

const WIRING = new Set(['', 'cli']);

/** Folders without knowledge of the domain: neither of its types nor of its tables. */
const KNOWS_NO_DOMAIN = new Set([...PLATFORM, ...CAPABILITIES]);

interface Import {
  from: string;
  line: number;
  specifier: string;
  /** The file that is imported, relative to the source folder; undefined for a package. */
  to?: string;
}

/** The import, export-from, `import()` and `require()` of one source text. */
function specifiersOf(path: string, text: string): { specifier: string; line: number }[] {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const found: { specifier: string; line: number }[] = [];
  const add = (node: ts.Node | undefined) => {
    if (!node || !ts.isStringLiteralLike(node)) return;
    const { line } = source.getLineAndCharacterOfPosition(node.getStart());
    found.push({ specifier: node.text, line: line + 1 });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) add(node.moduleSpecifier);
    else if (
      ts.isImportEqualsDeclaration(node) &&
      ts.isExternalModuleReference(node.moduleReference)
    ) {
      add(node.moduleReference.expression);
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      add(node.argument.literal);
    } else if (
      ts.isCallExpression(node) &&
      (node.expression.kind === ts.SyntaxKind.ImportKeyword ||
        (ts.isIdentifier(node.expression) && node.expression.text === 'require'))
    ) {
      add(node.arguments[0]);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** Source texts by path, relative to the source folder, with `/`. */
type Sources = ReadonlyMap<string, string>;

function readSources(root: string): Sources {
  const paths = readdirSync(root, { recursive: true, encoding: 'utf8' });
  return new Map(
    paths
      .filter((path) => path.endsWith('.ts'))
      .sort()
      .map((path) => [path.split(sep).join('/'), readFileSync(join(root, path), 'utf8')]),
  );
}

function importsOf(sources: Sources): Import[] {
  return [...sources].flatMap(([from, text]) =>
    specifiersOf(from, text).map(({ specifier, line }) => {
      if (!specifier.startsWith('.')) return { from, line, specifier };
      const base = relative(resolve('/'), resolve('/', dirname(from), specifier))
        .split(sep)
        .join('/');
      const to = [`${base}.ts`, `${base}/index.ts`].find((path) => sources.has(path));
      return { from, line, specifier, to: to ?? base };
    }),
  );
}

/** The folder that the table speaks of: `platform`, `audit` and `api` have parts of their own. */
function folderOf(path: string): string {
  const [first = '', second = '', ...rest] = path.split('/');
  if (rest.length > 0 && ['platform', 'audit', 'api'].includes(first)) return `${first}/${second}`;
  return path.includes('/') ? first : '';
}

/** Imports that the table does not allow, one line each. */
function forbiddenImports(sources: Sources): string[] {
  return importsOf(sources).flatMap(({ from, line, to }) => {
    if (to === undefined) return [];
    const [own, other] = [folderOf(from), folderOf(to)];
    if (WIRING.has(own) || own === other) return [];
    // A test may use a real database or HTTP server beneath what it tests.
    if (from.endsWith('.spec.ts')) return [];
    // A controller speaks HTTP wherever it is, and declares its access rule.
    if (from.endsWith('.controller.ts') && CONTROLLERS_NEED.has(other)) return [];
    const allowed = ALLOWED[own];
    if (allowed?.includes(other)) return [];
    const may = allowed
      ? allowed.join(', ') || 'nothing'
      : 'nothing: the folder is not in the table';
    return [`${from}:${line} imports ${to}; ${own} may import ${may}`];
  });
}

/** Files that import each other in a ring, one line for each ring: `a.ts -> b.ts -> a.ts`. */
function cycles(sources: Sources): string[] {
  const targets = new Map<string, string[]>();
  for (const { from, to } of importsOf(sources)) {
    if (to !== undefined && sources.has(to)) targets.set(from, [...(targets.get(from) ?? []), to]);
  }
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: string[]): void => {
    const start = trail.indexOf(path);
    if (start !== -1) found.push([...trail.slice(start), path].join(' -> '));
    if (start !== -1 || done.has(path)) return;
    for (const target of targets.get(path) ?? []) visit(target, [...trail, path]);
    done.add(path);
  };
  for (const path of targets.keys()) visit(path, []);
  return found;
}

/** Barrels, forwardRef and imports that carry an extension. */
function forbiddenForms(sources: Sources): string[] {
  const barrels = [...sources.keys()].filter((path) => path.split('/').at(-1) === 'index.ts');
  const forward = [...sources].filter(([, text]) => /\bforwardRef\b/.test(text));
  const suffixed = importsOf(sources).filter(
    ({ specifier }) => specifier.startsWith('.') && /\.[jt]s$/.test(specifier),
  );
  return [
    ...barrels.map((path) => `${path} is a barrel`),
    ...forward.map(([path]) => `${path} uses forwardRef`),
    ...suffixed.map(({ from, line, specifier }) => `${from}:${line} imports ${specifier}`),
  ];
}

/** String and template literals of capabilities and ground that name a table of the domain. Migrations must. */
function domainTablesNamed(sources: Sources): string[] {
  const found: string[] = [];
  for (const [path, text] of sources) {
    if (!KNOWS_NO_DOMAIN.has(folderOf(path)) || path.endsWith('.spec.ts')) continue;
    if (path.startsWith('platform/database/migrations/')) continue;
    const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
    const visit = (node: ts.Node): void => {
      const isText =
        ts.isStringLiteralLike(node) ||
        ts.isTemplateHead(node) ||
        ts.isTemplateMiddle(node) ||
        ts.isTemplateTail(node);
      if (
        isText &&
        /\baudit_(?:event|organization|client_event_id)(?![a-z]|_[a-z])/.test(node.text)
      ) {
        const { line } = source.getLineAndCharacterOfPosition(node.getStart());
        found.push(`${path}:${line + 1}`);
      }
      ts.forEachChild(node, visit);
    };
    visit(source);
  }
  return found;
}

describe('the architecture', () => {
  const root = join(__dirname, '..', 'src');
  const sources = readSources(root);

  it('finds the sources it judges', () => {
    expect(sources.has('main.ts')).toBe(true);
    expect(importsOf(sources).length).toBeGreaterThan(100);
  });

  it('imports only downwards, as the table says', () => {
    expect(forbiddenImports(sources)).toEqual([]);
  });

  it('resolves every relative import', () => {
    const lost = importsOf(sources).filter(
      ({ to }) => to !== undefined && !sources.has(to) && !existsSync(join(root, to)),
    );
    // Tests of src may use the support code of test/.
    expect(lost.filter(({ from }) => !from.endsWith('.spec.ts'))).toEqual([]);
  });

  it('has no cycles', () => {
    expect(cycles(sources)).toEqual([]);
  });

  it('has no barrels, no forwardRef and no extensions in imports', () => {
    expect(forbiddenForms(sources)).toEqual([]);
  });

  it('names the tables of the domain only in the domain and in migrations', () => {
    expect(domainTablesNamed(sources)).toEqual([]);
  });
});

/** Paths in backticks with a slash: of a source file, or below a folder of the sources; patterns are none. */
function pathsNamedIn(text: string, folders: ReadonlySet<string>): string[] {
  return [...text.matchAll(/`((?:[\w.-]+\/)+[\w.-]+)`/g)]
    .map(([, path = '']) => path)
    .filter((path) => path.endsWith('.ts') || folders.has(path.split('/', 1)[0] ?? ''));
}

describe('docs/architecture.md', () => {
  const root = resolve(__dirname, '..');
  const folders = new Set(['src', ...readdirSync(join(root, 'src'))]);
  const text = readFileSync(join(root, 'docs/architecture.md'), 'utf8');
  const isMissing = (path: string) =>
    !existsSync(join(root, 'src', path)) && !existsSync(join(root, path));

  it('names only files and folders that exist', () => {
    const paths = pathsNamedIn(text, folders);
    expect(paths).toContain('http/fast-routes.ts');
    expect(paths).toContain('platform/errors');
    expect(paths.filter(isMissing)).toEqual([]);
  });

  it('would be seen to name a file or folder that does not exist', () => {
    const wrong = 'Serves `http/fast-route.ts`, `src/audit/writes` and `htp/fast-routes.ts`.';
    expect(pathsNamedIn(wrong, folders).filter(isMissing)).toEqual([
      'http/fast-route.ts',
      'src/audit/writes',
      'htp/fast-routes.ts',
    ]);
    expect(pathsNamedIn('`application/problem+json`, `GET /audit/x`, `src/*.ts`', folders)).toEqual(
      [],
    );
  });
});

describe('the rules themselves', () => {
  const of = (files: Record<string, string>): Sources => new Map(Object.entries(files));

  it('see every way to import', () => {
    const sources = of({
      'auth/a.ts': `
        import { B } from '../audit/b';
        import type { T } from '../audit/b';
        export { C } from '../audit/b';
        import D = require('../audit/b');
        type E = import('../audit/b').E;
        const f = () => import('../audit/b');
        const g = require('../audit/b');`,
      'audit/b.ts': 'export {};',
    });
    expect(forbiddenImports(sources)).toHaveLength(7);
  });

  it('keep adapters off the database and capabilities off each other', () => {
    const sources = of({
      'api/graphql/a.ts': `import '../../platform/database/database';`,
      'api/trpc/a.ts': `import '../../platform/redis/client';`,
      'caching/a.ts': `import '../concurrency/fair-queue';`,
      'health/a.ts': `import '../audit/write/audit.service';`,
      'platform/database/a.ts': `import '../../http/http-server';`,
      'novelty/a.ts': `import '../platform/errors/app-error';`,
      'caching/b.ts': `import '../auth/principal';`,
      'audit/event/a.ts': `import '../write/audit-writer';`,
    });
    expect(forbiddenImports(sources).map((line) => line.split(' ')[0])).toEqual([
      'api/graphql/a.ts:1',
      'api/trpc/a.ts:1',
      'caching/a.ts:1',
      'health/a.ts:1',
      'platform/database/a.ts:1',
      'novelty/a.ts:1',
      'caching/b.ts:1',
      'audit/event/a.ts:1',
    ]);
  });

  it('allow what the table allows', () => {
    const sources = of({
      'audit/read/a.ts': `import '../../platform/database/database'; import '../../platform/runtime/instant'; import './b';`,
      'concurrency/a.ts': `import '../platform/database/database';`,
      'cli/a.ts': `import '../audit/write/audit.service';`,
      'main.ts': `import './audit/write/audit.service';`,
      'caching/a.controller.ts': `import '../auth/scopes.decorator';`,
    });
    expect(forbiddenImports(sources)).toEqual([]);
  });

  it('find a ring of files', () => {
    const sources = of({
      'audit/a.ts': `import './b';`,
      'audit/b.ts': `import './c';`,
      'audit/c.ts': `import './a';`,
    });
    expect(cycles(sources)).toEqual(['audit/a.ts -> audit/b.ts -> audit/c.ts -> audit/a.ts']);
  });

  it('find barrels, forwardRef, extensions and tables in the wrong place', () => {
    const sources = of({
      'audit/index.ts': `export * from './a.js';`,
      'audit/a.ts': 'forwardRef(() => A);',
      'caching/a.ts': 'const sql = `SELECT * FROM audit_event WHERE id = ${id}`;',
      'platform/config/a.ts': `const example = 'audit_events*=120';`,
      'platform/database/migrations/a.ts': `const sql = 'CREATE TABLE audit_event ()';`,
    });
    expect(forbiddenForms(sources)).toHaveLength(3);
    expect(domainTablesNamed(sources)).toEqual(['caching/a.ts:1']);
  });
});
