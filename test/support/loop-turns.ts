/** Turns of the event loop, long enough for whatever waits for nothing else. */
export async function manyTurns(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
