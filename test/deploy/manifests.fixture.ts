import { execFileSync, spawnSync } from 'node:child_process';
import { appendFileSync, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import ts from 'typescript';
import { parseAllDocuments } from 'yaml';

const ROOT = resolve(__dirname, '..', '..');
export const KUBERNETES = join(ROOT, 'deploy', 'kubernetes');
export const OVERLAYS = ['development', 'staging', 'production'] as const;

/** A resource of Kubernetes, as far as every one has the same members. */
export interface Resource {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string> };
  [member: string]: any; // eslint-disable-line @typescript-eslint/no-explicit-any -- of many shapes, checked against their schemas
}

/** Every document of a YAML text. Throws at the first fault of its syntax. */
export function documentsIn(text: string): Resource[] {
  return parseAllDocuments(text).map((document) => {
    if ('errors' in document && document.errors[0]) throw document.errors[0];
    return document.toJS() as Resource;
  });
}

/** The resources of files under deploy/kubernetes that stand there in full: no patches, no kustomizations. */
export function resourcesIn(folder: string): Resource[] {
  return readdirSync(join(KUBERNETES, folder))
    .filter((name) => name.endsWith('.yaml') && name !== 'kustomization.yaml')
    .flatMap((name) => documentsIn(readFileSync(join(KUBERNETES, folder, name), 'utf8')));
}

/** Whether `kubectl`, and kustomize inside it, is on the PATH; loud when it is not. */
export function hasKustomize(): boolean {
  if (spawnSync('kubectl', ['kustomize', '--help']).status === 0) return true;
  process.stderr.write(
    '\n*** NO kubectl: THE OVERLAYS ARE NOT BUILT, ONLY THEIR PARTS CHECKED ***\n\n',
  );
  return false;
}

/** What `kubectl apply -k` would send. */
export function build(overlay: string): Resource[] {
  const path = join(KUBERNETES, 'overlays', overlay);
  return documentsIn(execFileSync('kubectl', ['kustomize', path], { encoding: 'utf8' }));
}

/** The same of an overlay to which components were added, as their comments say. */
export function buildWith(overlay: string, components: readonly string[]): Resource[] {
  const home = mkdtempSync(join(tmpdir(), 'audit-kustomize-'));
  try {
    for (const name of ['config', 'deploy/kubernetes'])
      cpSync(join(ROOT, name), join(home, name), { recursive: true });
    const path = join(home, 'deploy/kubernetes/overlays', overlay);
    appendFileSync(
      join(path, 'kustomization.yaml'),
      `components: [${components.map((name) => `../../components/${name}`).join(', ')}]\n`,
    );
    return documentsIn(execFileSync('kubectl', ['kustomize', path], { encoding: 'utf8' }));
  } finally {
    rmSync(home, { recursive: true });
  }
}

/**
 * What the types of `kubernetes-models`, which are made of the OpenAPI description of Kubernetes, say against resources:
 * members that do not exist, are missing or of another type. Its own validators let unknown members pass.
 */
export function typeFaultsOf(resources: Resource[]): string[] {
  const file = join(ROOT, 'test', 'deploy', '__resources.ts');
  const lines = resources.map(({ apiVersion, kind, ...rest }, index) => {
    const folder = apiVersion.replace('.k8s.io', (part) =>
      apiVersion.startsWith('autoscaling') || apiVersion.startsWith('policy') ? '' : part,
    );
    return [
      `import type { I${kind} as I${index} } from 'kubernetes-models/${folder}/${kind}';`,
      `export const r${index}: I${index} = ${JSON.stringify({ apiVersion, kind, ...rest }, null, 1)};`,
    ].join('\n');
  });
  const text = lines.join('\n');
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: [],
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
  };
  const host = ts.createCompilerHost(options);
  const disk = ts.createCompilerHost(options);
  host.fileExists = (path) => path === file || disk.fileExists(path);
  host.readFile = (path) => (path === file ? text : disk.readFile(path));
  host.getSourceFile = (path, language) =>
    path === file ? ts.createSourceFile(path, text, language) : disk.getSourceFile(path, language);
  const program = ts.createProgram([file], options, host);
  const source = program.getSourceFile(file);
  return [
    ...program.getSyntacticDiagnostics(source),
    ...program.getSemanticDiagnostics(source),
  ].map(({ messageText, start = 0 }) => {
    const { line } = ts.getLineAndCharacterOfPosition(
      source ?? ts.createSourceFile('', '', 99),
      start,
    );
    const at = text.split('\n')[line]?.trim() ?? '';
    return `${at}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
  });
}
