import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { decompress, decompressorFor, DecompressionPermits } from './content-coding';

const MB = 1024 * 1024;
const zeros = Buffer.alloc(20 * MB);
const NEVER_ABORTED = new AbortController().signal;

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
    await expect(decompress(body, decompressor, { take, signal: NEVER_ABORTED })).rejects.toThrow(
      'too much',
    );
    expect(decompressor.destroyed).toBe(true);
    expect(taken).toBeLessThanOrEqual(MB);
  });

  it('is decompressed no further once its request is aborted', async () => {
    const decompressor = decompressorFor('gzip')?.();
    if (!decompressor) throw new Error('There is no decompressor');
    const controller = new AbortController();
    const take = (): void => controller.abort(new Error('aborted'));
    const work = decompress(gzipSync(zeros), decompressor, { take, signal: controller.signal });
    await expect(work).rejects.toThrow('aborted');
    expect(decompressor.destroyed).toBe(true);
  });

  it.each(['zstd', 'gzip, gzip', 'identity, gzip'])('in %s is refused', (coding) => {
    expect(() => decompressorFor(coding)).toThrow(/not supported/);
  });
});

describe('permits to decompress', () => {
  it('are bounded, rotate between senders, and go to no request that is aborted', async () => {
    const permits = new DecompressionPermits(1);
    let finish = (): void => undefined;
    const first = permits.run(
      'flood',
      NEVER_ABORTED,
      () => new Promise<void>((end) => (finish = end)),
    );
    const order: string[] = [];
    const request = (sender: string, signal = NEVER_ABORTED): Promise<void> =>
      permits.run(sender, signal, () => {
        expect(permits.held).toBe(1);
        order.push(sender);
        return Promise.resolve();
      });
    const controller = new AbortController();
    const flood = [request('flood'), request('flood'), request('flood')];
    const aborted = request('gone', controller.signal);
    const quiet = request('quiet');
    controller.abort(new Error('aborted'));
    await expect(aborted).rejects.toThrow('aborted');
    finish();
    await Promise.all([first, ...flood, quiet]);
    expect(order).toEqual(['flood', 'quiet', 'flood', 'flood']);
    expect(permits.held).toBe(0);
  });
});
