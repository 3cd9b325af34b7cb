import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findFreePort } from '../../src/platform/database/embedded/embedded-postgres';
import { until } from '../integration/until.fixture';

/** Whether nginx is installed; with CI=true an error if not. */
export function hasNginx(): boolean {
  if (!spawnSync('nginx', ['-v']).error) return true;
  if (process.env['CI'] === 'true') throw new Error('CI=true needs nginx on the PATH');
  process.stderr.write('\n*** NO nginx ON THE PATH: IT IS NOT TESTED AS PROXY AND CACHE ***\n\n');
  return false;
}

/** Starts nginx with a configuration, at a free port of 127.0.0.1, in a folder of its own. */
export async function startNginx(home: string, text: string) {
  chmodSync(home, 0o777);
  const port = await findFreePort();
  const path = join(home, 'nginx.conf');
  const here = text
    .replace('listen 8080', `listen 127.0.0.1:${port}`)
    .replaceAll('/tmp/', `${home}/`)
    .replace('worker_processes auto', 'worker_processes 1')
    .replace('/dev/stdout', `${home}/access.log`)
    .replace('/dev/stderr', `${home}/error.log`);
  writeFileSync(path, here);
  const checked = spawnSync('nginx', ['-t', '-c', path, '-e', 'stderr'], { encoding: 'utf8' });
  expect(checked.stderr).toContain('test is successful');
  expect(checked.stderr).not.toMatch(/warn|deprecated/);
  const nginx = spawn('nginx', ['-c', path, '-e', 'stderr', '-g', 'daemon off;'], {
    stdio: 'ignore',
  });
  const url = `http://127.0.0.1:${port}`;
  await until(() =>
    fetch(`${url}/metrics`).then(
      () => true,
      () => false,
    ),
  );
  const stop = async () => {
    nginx.kill('SIGQUIT');
    if (nginx.exitCode === null) await once(nginx, 'exit');
  };
  return { url, stop };
}
