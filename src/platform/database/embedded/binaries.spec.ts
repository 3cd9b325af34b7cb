import { access } from 'node:fs/promises';
import { constants } from 'node:fs';
import { findBinaries } from './binaries';

describe('findBinaries', () => {
  it('finds programs that can be run on this machine', async () => {
    const binaries = await findBinaries();
    expect(binaries.version).toMatch(/^\d+\.\d+/);
    await access(binaries.initdb, constants.X_OK);
    await access(binaries.pgCtl, constants.X_OK);
  });

  it('gives advice when the optional package is not installed', async () => {
    const other = process.platform === 'darwin' ? 'linux' : 'darwin';
    await expect(findBinaries(other, 'x64')).rejects.toThrow(
      /not installed for \w+ on x64: set DATABASE_URL .*, or run `npm ci` without --omit=optional/,
    );
  });

  it('gives advice on a platform without a build of PostgreSQL', async () => {
    await expect(findBinaries('sunos', 'sparc')).rejects.toThrow(
      'There is no embedded PostgreSQL for sunos on sparc: set DATABASE_URL',
    );
  });
});
