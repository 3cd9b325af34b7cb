import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { until } from '../integration/until.fixture';

/**
 * A folder that all workers of a run share, made by the first that asks for it while the others wait; under `.data`,
 * until the run ends. Another that asks after `make` has failed gets the folder as it was left, and fails at using it.
 */
export async function folderOfRun(
  name: string,
  make: (folder: string) => Promise<void>,
): Promise<string> {
  const folder = join(process.env['TEST_RUN_FOLDER'] ?? '', name);
  const done = `${folder}.done`;
  const isFirst = await mkdir(folder).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
      return false;
    },
  );
  if (isFirst) await make(folder).finally(() => writeFile(done, ''));
  else await until(() => existsSync(done));
  return folder;
}
