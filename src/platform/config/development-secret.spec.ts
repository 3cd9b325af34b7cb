import { execFile } from 'node:child_process';
import fs, {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import ts from 'typescript';
import { developmentSecret } from './development-secret';

const folder = mkdtempSync(join(tmpdir(), 'development-secret-'));
let counter = 0;

function newDataDir(): string {
  counter += 1;
  return join(folder, `data-${counter}`, 'nested');
}

afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => jest.restoreAllMocks());

describe('developmentSecret', () => {
  it('makes 32 random bytes as base64url, readable by the owner alone', () => {
    const dataDir = newDataDir();
    const secret = developmentSecret(dataDir);
    expect(secret).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(statSync(join(dataDir, 'auth-jwt-secret')).mode & 0o777).toBe(0o600);
    expect(readdirSync(dataDir)).toEqual(['auth-jwt-secret']);
  });

  it('is the same again for its folder, and differs from that of another folder', () => {
    const dataDir = newDataDir();
    const secret = developmentSecret(dataDir);
    expect(developmentSecret(dataDir)).toBe(secret);
    expect(developmentSecret(newDataDir())).not.toBe(secret);
  });

  it('is that of a process that was faster, and no draft stays behind', () => {
    const dataDir = newDataDir();
    const other = 'the secret of the other process.';
    const link = fs.linkSync;
    jest.spyOn(fs, 'linkSync').mockImplementation((draft, path) => {
      writeFileSync(path, other);
      link(draft, path);
    });
    expect(developmentSecret(dataDir)).toBe(other);
    expect(readdirSync(dataDir)).toEqual(['auth-jwt-secret']);
  });

  it('is the same for processes that start at the same moment', async () => {
    for (const name of ['development-secret', 'load-environment', 'unknown-variables']) {
      const source = readFileSync(join(__dirname, `${name}.ts`), 'utf8');
      const compilerOptions = { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 };
      const { outputText } = ts.transpileModule(source, { compilerOptions });
      writeFileSync(join(folder, `${name}.js`), outputText);
    }
    const script = `process.stdout.write(require('./development-secret').developmentSecret(${JSON.stringify(newDataDir())}))`;
    const runs = await Promise.all(
      Array.from({ length: 6 }, () =>
        promisify(execFile)(process.execPath, ['-e', script], { cwd: folder }),
      ),
    );
    const secrets = new Set(runs.map(({ stdout }) => stdout));
    expect([...secrets]).toEqual([expect.stringMatching(/^[A-Za-z0-9_-]{43}$/)]);
  });

  it('refuses a file that holds less than 32 bytes, without showing it', () => {
    const dataDir = newDataDir();
    developmentSecret(dataDir);
    writeFileSync(join(dataDir, 'auth-jwt-secret'), 'hunter2');
    expect(() => developmentSecret(dataDir)).toThrow(
      /^DATA_DIR="[^"]*": it must be a folder whose auth-jwt-secret holds at least 32 bytes/,
    );
    expect(() => developmentSecret(dataDir)).not.toThrow(/hunter2/);
  });

  it('says which folder cannot be used', () => {
    const file = join(folder, 'a-file');
    writeFileSync(file, '');
    expect(() => developmentSecret(join(file, 'data'))).toThrow(
      `DATA_DIR="${join(file, 'data')}": it must be a folder in which auth-jwt-secret can be read and created (ENOTDIR)`,
    );
  });
});
