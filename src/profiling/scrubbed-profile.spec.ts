import * as fc from 'fast-check';
import { Session } from 'node:inspector/promises';
import { runInThisContext } from 'node:vm';
import { PACKAGE_ROOT } from '../platform/config/load-environment';
import { type HeapProfile, scrubbedCpuProfile, scrubbedHeapProfile } from './scrubbed-profile';

const SECRET = 'a secret of a client';
const ROUNDS = 3_000_000;

/** Spends time in code that is named after SECRET in every way that JavaScript has. */
function workUnderSecretNames(): void {
  const pattern = new RegExp(`(?:a|b|${SECRET})+$`);
  for (let round = 0; round < 60; round += 1) pattern.test(`${'ab'.repeat(1000)}x`);
  const spin = `let sum = 0; for (let i = 0; i < ${ROUNDS}; i += 1) sum += i % 7; return sum;`;
  const evaluated = `(function aFunction() { ${spin} })() //# sourceURL=${SECRET.replaceAll(' ', '_')}`;
  runInThisContext(evaluated, { filename: `/${SECRET}` });
  const members = {
    [SECRET]: (): number => {
      let sum = 0;
      for (let index = 0; index < ROUNDS; index += 1) sum += index % 7;
      return sum;
    },
  };
  members[SECRET]?.();
}

const SECRETS = /a.secret.of.a.client/;

describe('a scrubbed profile', () => {
  const session = new Session();

  beforeAll(() => session.connect());
  afterAll(() => session.disconnect());

  it('of the processor names functions, and neither patterns, evaluated text nor folders of the machine', async () => {
    await session.post('Profiler.enable');
    await session.post('Profiler.setSamplingInterval', { interval: 100 });
    await session.post('Profiler.start');
    workUnderSecretNames();
    const { profile } = await session.post('Profiler.stop');
    const scrubbed = scrubbedCpuProfile(profile, PACKAGE_ROOT);
    const frames = scrubbed.nodes.map(({ callFrame }) => callFrame);
    expect(JSON.stringify(profile)).toMatch(SECRETS);
    expect(JSON.stringify(profile)).toContain(PACKAGE_ROOT);
    expect(JSON.stringify(scrubbed)).not.toMatch(SECRETS);
    expect(JSON.stringify(scrubbed)).not.toContain(PACKAGE_ROOT);
    expect(frames).toContainEqual(
      expect.objectContaining({
        functionName: 'workUnderSecretNames',
        url: 'src/profiling/scrubbed-profile.spec.ts',
      }),
    );
    expect(frames).toContainEqual(
      expect.objectContaining({ functionName: '(regular expression)', url: '' }),
    );
    expect(frames).toContainEqual(expect.objectContaining({ functionName: 'aFunction', url: '' }));
    expect(scrubbed.nodes.map(({ id }) => id)).toEqual(profile.nodes.map(({ id }) => id));
    expect([scrubbed.samples, scrubbed.timeDeltas]).toEqual([profile.samples, profile.timeDeltas]);
  });

  it('of the heap has the same sizes', async () => {
    await session.post('HeapProfiler.startSampling', { samplingInterval: 1024 });
    const held = Array.from({ length: 20_000 }, (_, index) => ({ index }));
    const { profile } = await session.post('HeapProfiler.stopSampling');
    expect(held).toHaveLength(20_000);
    const raw = profile as HeapProfile;
    const scrubbed = scrubbedHeapProfile(raw, PACKAGE_ROOT);
    expect(scrubbed.samples).toEqual(raw.samples);
    expect(sizesOf(scrubbed.head)).toEqual(sizesOf(raw.head));
    expect(JSON.stringify(scrubbed)).not.toContain(PACKAGE_ROOT);
  });

  it.each([
    ['/app/dist/src/main.js', 'dist/src/main.js'],
    ['file:///app/dist/src/main.mjs', 'dist/src/main.mjs'],
    ['/app/node_modules/pg/lib/client.js', 'node_modules/pg/lib/client.js'],
    ['/home/bob/node_modules/pg/lib/client.js', 'node_modules/pg/lib/client.js'],
    ['node:internal/streams/readable', 'node:internal/streams/readable'],
    ['/application/main.js', ''],
    ['/home/bob/.secret/main.js', ''],
    ['data:text/javascript,1', ''],
    ['file:///app/a%2Fb.mjs', ''],
    ['wasm://wasm/8f0a', ''],
    ['node:bob@example.org', ''],
    ['https://example.org/node_modules/a.js', ''],
  ])('has for %s the place "%s"', (url, place) => {
    expect(frameOf('name', url).url).toBe(place);
  });

  it.each([
    'Database.withClient',
    'get rawPacket',
    'Client.#send',
    '(garbage collector)',
    '<static_initializer>',
    'Queue.[Symbol.iterator]',
    '$1',
    '',
  ])('keeps the name %s', (name) => {
    expect(frameOf(name, '').functionName).toBe(name);
  });

  it('keeps of any text no more than names have', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.string(), (name, url) => {
        const frame = frameOf(name, url);
        expect(frame.functionName).toMatch(/^[\w$#.<>()[\] ]{0,100}$/);
        expect(frame.url).toMatch(/^(node:[\w/]+)?$/);
      }),
    );
  });

  it('keeps no token', () => {
    const token = `eyJhbGciOiJIUzI1NiJ9.${'eyJzdWIiOiJhbGljZSJ9'.repeat(5)}.c2lnbmF0dXJl`;
    expect(frameOf(token, token)).toMatchObject({ functionName: '(other)', url: '' });
    expect(frameOf(`RegExp: ${token}`, '').functionName).toBe('(regular expression)');
  });
});

function frameOf(functionName: string, url: string) {
  const callFrame = { functionName, scriptId: '1', url, lineNumber: 0, columnNumber: 0 };
  const profile = { nodes: [{ id: 1, callFrame }], startTime: 0, endTime: 1 };
  const [node] = scrubbedCpuProfile(profile, '/app').nodes;
  if (!node) throw new Error('The profile has lost its node');
  return node.callFrame;
}

function sizesOf({ selfSize, children }: HeapProfile['head']): unknown[] {
  return [selfSize, ...children.map(sizesOf)];
}
