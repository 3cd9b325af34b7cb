/**
 * The same iteration, without unhandled rejections. tRPC asks for the next element before it awaits it, to know when to
 * ping; a failure meanwhile would end the process. A later `await` of the element still gets it.
 */
export function watched<T>(source: AsyncIterable<T>): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]: () => {
      const iterator = source[Symbol.asyncIterator]();
      return {
        next: () => {
          const next = iterator.next();
          next.catch(() => undefined);
          return next;
        },
        return: async () => {
          await iterator.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}
