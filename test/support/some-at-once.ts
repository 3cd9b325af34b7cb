/** A service has room for more; what is asked in a series for each of hundreds of things takes minutes. */
const AT_ONCE = 8;

/** Does the work for every item, for a few at a time; rejects with what the first fault was. */
export async function someAtOnce<T>(
  items: Iterable<T>,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const left = items[Symbol.iterator]();
  const one = async (): Promise<void> => {
    for (let next = left.next(); next.done !== true; next = left.next()) await work(next.value);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
}
