import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { validate } from 'dockerfile-utils';

const ROOT = resolve(__dirname, '..', '..');
const text = readFileSync(join(ROOT, 'Dockerfile'), 'utf8');

/** Its instructions, one line each: continued lines joined, comments left out. */
const instructions = text
  .replace(/\\\n\s*/g, ' ')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'));
const runtime = instructions.slice(instructions.findLastIndex((line) => line.startsWith('FROM ')));

/** Docker is not needed to see these; that the steps work is tried by scripts/check-production.mjs. */
describe('the Dockerfile', () => {
  it('is well formed', () => {
    expect(validate(text)).toEqual([]);
    expect(validate('FORM node:24\nEXPOSE x').length).toBeGreaterThan(0);
  });

  it('copies existing paths that .dockerignore admits', () => {
    const ignore = readFileSync(join(ROOT, '.dockerignore'), 'utf8').split('\n');
    expect(ignore.find((line) => line !== '' && !line.startsWith('#'))).toBe('*');
    const copied = instructions
      .filter((line) => line.startsWith('COPY ') && !line.includes('--from='))
      .flatMap((line) => line.split(' ').slice(1, -1));
    expect(copied.length).toBeGreaterThan(5);
    for (const path of copied) {
      expect({ path, isThere: existsSync(join(ROOT, path)) }).toEqual({ path, isThere: true });
      expect(ignore).toContain(`!${path}`);
    }
    // Names that could hold a secret are not let through by any of these.
    expect(
      ignore.filter((line) => /^!.*(\.data|\.git|node_modules|\.npmrc|key|secret)/.test(line)),
    ).toEqual([]);
  });

  it('takes from other stages only their products', () => {
    const stages = instructions.flatMap((line) => / AS (\w+)$/.exec(line)?.[1] ?? []);
    const from = runtime.flatMap((line) => /--from=(\w+)/.exec(line)?.[1] ?? []);
    expect(from.length).toBeGreaterThan(1);
    expect(stages).toEqual(expect.arrayContaining(from));
  });

  it('runs as a numbered user who is not root, in production, with node as its first process', () => {
    expect(runtime.filter((line) => line.startsWith('USER '))).toEqual(['USER 1000:1000']);
    expect(runtime.indexOf('USER 1000:1000')).toBeGreaterThan(
      runtime.findLastIndex((line) => /^(RUN|COPY) /.test(line)),
    );
    expect(runtime).toContain('ENV NODE_ENV=production');
    expect(runtime).toContain('CMD ["node", "dist/main.js"]');
  });

  it('bakes no secret in', () => {
    const names = /(SECRET|PASSWORD|TOKEN|DATABASE_URL|REDIS_URL|_KEY)/;
    expect(instructions.filter((line) => /^(ENV|ARG) /.test(line) && names.test(line))).toEqual([]);
  });
});
