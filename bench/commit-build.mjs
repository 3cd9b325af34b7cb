// The build of another commit, in a git worktree that lasts as long as the work with it.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SIGNALS = ['SIGINT', 'SIGTERM'];
const EXIT_OF_SIGNAL = { SIGINT: 130, SIGTERM: 143 };

/** The full hash of a commit-ish. @throws Error if there is no git, no repository, or no such commit */
export function resolveCommit(root, commit) {
  try {
    return git(root, 'rev-parse', '--verify', '--quiet', '--end-of-options', `${commit}^{commit}`);
  } catch (error) {
    if (error.code === 'ENOENT') {
      throw new Error(`--compare ${commit}: there is no git on the PATH`, { cause: error });
    }
    if (error.stderr?.includes('not a git repository')) {
      throw new Error(`--compare ${commit}: ${root} is not a git repository`, { cause: error });
    }
    const hint = isShallow(root)
      ? '; this checkout is shallow, `git fetch --deepen 1` gets the parent'
      : '';
    throw new Error(
      `--compare ${commit}: there is neither a file of results nor a commit of that name${hint}`,
      { cause: error },
    );
  }
}

/**
 * Checks `commit` out, builds it, and calls `work` with its dist folder. Dependencies are those of this checkout if both lock files
 * are equal, else they are installed. @throws Error if it does not install or build
 */
export async function withBuildOf(root, commit, work) {
  const hash = resolveCommit(root, commit);
  const folder = mkdtempSync(join(tmpdir(), 'audit-compare-'));
  const checkout = join(folder, 'checkout');
  const remove = () => {
    try {
      git(root, 'worktree', 'remove', '--force', checkout);
    } catch {
      // It was not added, or is half there: `prune` forgets it once its folder is gone.
    }
    rmSync(folder, { recursive: true, force: true });
    git(root, 'worktree', 'prune');
  };
  const interrupted = (signal) => {
    remove();
    process.exit(EXIT_OF_SIGNAL[signal]);
  };
  for (const signal of SIGNALS) process.once(signal, interrupted);
  try {
    git(root, 'worktree', 'add', '--detach', '--quiet', checkout, hash);
    provideDependencies(root, checkout, commit);
    console.log(`Building ${commit} (${hash.slice(0, 10)})…`);
    run(checkout, commit, 'npm', 'run', '-s', 'build');
    return await work(join(checkout, 'dist'));
  } finally {
    for (const signal of SIGNALS) process.removeListener(signal, interrupted);
    remove();
  }
}

function provideDependencies(root, checkout, commit) {
  const [here, there] = [root, checkout].map((folder) =>
    readFileSync(join(folder, 'package-lock.json'), 'utf8'),
  );
  if (here === there) {
    symlinkSync(join(root, 'node_modules'), join(checkout, 'node_modules'), 'junction');
    return;
  }
  console.log(`Installing the dependencies of ${commit}, whose lock file differs…`);
  run(checkout, commit, 'npm', 'ci', '--no-fund', '--no-audit', '--loglevel=error');
}

function run(cwd, commit, command, ...parameters) {
  try {
    execFileSync(command, parameters, { cwd, stdio: ['ignore', 2, 2] });
  } catch (error) {
    throw new Error(`${commit}: \`${[command, ...parameters].join(' ')}\` failed`, {
      cause: error,
    });
  }
}

function isShallow(root) {
  return git(root, 'rev-parse', '--is-shallow-repository') === 'true';
}

function git(root, ...parameters) {
  const options = { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] };
  return execFileSync('git', parameters, options).trim();
}
