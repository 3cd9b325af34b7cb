import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { decompress, decompressorFor, DecompressionPermits } from './content-coding';

const MB = 1024 * 1024;
const zeros = Buffer.alloc(20 * MB);
const never = new AbortController().signal;

describe('a compressed body', () => {
  it.each([
    ['gzip', gzipSync(zeros)],
    ['deflate', deflateSync(zeros)],
    ['br', brotliCompressSync(zeros)],
  ])('in %s is decompressed no further once it is refused', async (coding, body) => {
    const decompressor = decompressorFor(coding)?.();
    if (!decompressor) throw new Error('There is no decompressor');
    let taken = 0;
    const take = (bytes: number): void => {
      if (taken + bytes > MB) throw new Error('too much');
      taken += bytes;
    };
    await expect(decompress(body, decompressor, { take, signal: never })).rejects.toThrow(
      'too much',
    );
    expect(decompressor.destroyed).toBe(true);
    expect(taken).toBeLessThanOrEqual(MB);
  });

  it('is decompressed no further when nobody waits any more', async () => {
    const decompressor = decompressorFor('gzip')?.();
    if (!decompressor) throw new Error('There is no decompressor');
    const controller = new AbortController();
    const take = (): void => controller.abort(new Error('left'));
    const work = decompress(gzipSync(zeros), decompressor, { take, signal: controller.signal });
    await expect(work).rejects.toThrow('left');
    expect(decompressor.destroyed).toBe(true);
  });

  it.each(['zstd', 'gzip, gzip', 'identity, gzip'])('in %s is refused', (coding) => {
    expect(() => decompressorFor(coding)).toThrow(/not supported/);
  });
});

describe('permits to decompress', () => {
  it('are bounded, go from sender to sender, and are left by those who do not wait any more', async () => {
    const permits = new DecompressionPermits(1);
    let finish = (): void => undefined;
    const first = permits.run('flood', never, () => new Promise<void>((end) => (finish = end)));
    const order: string[] = [];
    const ask = (sender: string, signal = never): Promise<void> =>
      permits.run(sender, signal, () => {
        expect(permits.held).toBe(1);
        order.push(sender);
        return Promise.resolve();
      });
    const controller = new AbortController();
    const flood = [ask('flood'), ask('flood'), ask('flood')];
    const leaving = ask('gone', controller.signal);
    const quiet = ask('quiet');
    controller.abort(new Error('left'));
    await expect(leaving).rejects.toThrow('left');
    finish();
    await Promise.all([first, ...flood, quiet]);
    expect(order).toEqual(['flood', 'quiet', 'flood', 'flood']);
    expect(permits.held).toBe(0);
  });
});
