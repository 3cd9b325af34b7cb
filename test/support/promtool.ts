import { spawnSync } from 'node:child_process';

const WARNING = `
******************************************************************************
*  THE PROMTOOL TESTS ARE SKIPPED: no promtool on PATH (package prometheus). *
******************************************************************************
`;

/** `describe` for specs that ask promtool; without one they are skipped loudly, and with CI=true that is an error. */
export function describeWithPromtool(): jest.Describe {
  if (spawnSync('promtool', ['--version']).error === undefined) return describe;
  if (process.env['CI'] === 'true') throw new Error('CI=true needs promtool on the PATH');
  process.stderr.write(WARNING);
  return describe.skip;
}

/** Runs promtool and gives what it complains about: '' when all is well. */
export function promtool(parameters: string[], input?: string): string {
  const { status, stdout, stderr } = spawnSync('promtool', parameters, { input, encoding: 'utf8' });
  // Lint findings of metrics are told on stderr with status 3; rules and configurations are praised on stdout.
  return status === 0 ? stderr : `${stdout}${stderr}` || `promtool ended with ${status}`;
}
