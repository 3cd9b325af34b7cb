import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { resolveCommit, withBuildOf } from '../../bench/commit-build.mjs';

/** A repository whose build copies `source` into dist/, by a program of its dependencies. */
describe('the build of another commit', () => {
  let folder: string;
  let root: string;
  const git = (...parameters: string[]) =>
    execFileSync('git', ['-c', 'user.name=spec', '-c', 'user.email=spec@example', ...parameters], {
      cwd: root,
      encoding: 'utf8',
    }).trim();
  const commit = (source: string, build: string) => {
    writeFileSync(join(root, 'source'), source);
    writeFileSync(join(root, 'package.json'), JSON.stringify({ scripts: { build } }));
    git('add', '-A');
    git('commit', '-q', '-m', source);
  };
  const worktrees = () => git('worktree', 'list').split('\n').length;

  beforeAll(() => {
    jest.spyOn(console, 'log').mockImplementation(() => undefined);
    folder = mkdtempSync(join(tmpdir(), 'audit-commit-build-'));
    root = join(folder, 'repository');
    mkdirSync(join(root, 'node_modules'), { recursive: true });
    writeFileSync(
      join(root, 'node_modules', 'copy.js'),
      `
      const { cpSync, mkdirSync } = require('node:fs');
      mkdirSync('dist');
      cpSync('source', 'dist/main.js');
    `,
    );
    git('init', '-q');
    writeFileSync(join(root, '.gitignore'), 'node_modules\ndist\n');
    writeFileSync(join(root, 'package-lock.json'), '{"lockfileVersion":3,"packages":{}}');
    commit('first', 'node node_modules/copy.js');
    commit('broken', 'exit 3');
    commit('last', 'node node_modules/copy.js');
    writeFileSync(join(root, 'source'), 'not committed');
  });

  afterAll(() => {
    jest.restoreAllMocks();
    rmSync(folder, { recursive: true, force: true });
  });

  it('is there during the work with it, with linked dependencies, and leaves nothing behind', async () => {
    let checkout = '';
    const content = await withBuildOf(root, 'HEAD~2', (dist) => {
      checkout = dirname(dist);
      expect(worktrees()).toBe(2);
      return Promise.resolve(readFileSync(join(dist, 'main.js'), 'utf8'));
    });
    expect(content).toBe('first');
    expect(existsSync(checkout)).toBe(false);
    expect(worktrees()).toBe(1);
    expect(existsSync(join(root, 'node_modules', 'copy.js'))).toBe(true);
    expect(readFileSync(join(root, 'source'), 'utf8')).toBe('not committed');
  });

  it('leaves nothing behind when it fails, or the work does', async () => {
    const work = () => Promise.reject(new Error('the work failed'));
    await expect(withBuildOf(root, 'HEAD', work)).rejects.toThrow('the work failed');
    await expect(withBuildOf(root, 'HEAD^', work)).rejects.toThrow(
      'HEAD^: `npm run -s build` failed',
    );
    expect(worktrees()).toBe(1);
  });

  it.each(['nowhere', 'HEAD:source', '--help', 'HEAD~9'])('is refused of %s', (name) => {
    expect(() => resolveCommit(root, name)).toThrow(
      `--compare ${name}: there is neither a file of results nor a commit of that name`,
    );
  });

  it('is refused outside of a repository, and in a shallow one with a hint', () => {
    expect(() => resolveCommit(folder, 'HEAD')).toThrow('is not a git repository');
    git('clone', '-q', '--depth', '1', `file://${root}`, join(folder, 'shallow'));
    expect(() => resolveCommit(join(folder, 'shallow'), 'HEAD^')).toThrow(/shallow, `git fetch/);
  });
});
