import { watched } from './app-router';

async function* failing(): AsyncGenerator<number> {
  yield 1;
  await Promise.resolve();
  throw new Error('gone');
}

it('gives elements and the failure, which need not be awaited at once', async () => {
  const unhandled = jest.fn();
  process.on('unhandledRejection', unhandled);
  const iterator = watched(failing())[Symbol.asyncIterator]();
  expect(await iterator.next()).toEqual({ done: false, value: 1 });
  const next = iterator.next();
  await new Promise((resolve) => setTimeout(resolve, 10));
  await expect(next).rejects.toThrow('gone');
  process.off('unhandledRejection', unhandled);
  expect(unhandled).not.toHaveBeenCalled();
});

it('ends what it iterates when it is left', async () => {
  const source = failing();
  for await (const one of watched(source)) {
    expect(one).toBe(1);
    break;
  }
  expect(await source.next()).toEqual({ done: true, value: undefined });
});
