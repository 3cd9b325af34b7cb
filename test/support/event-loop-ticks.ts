/** Ticks of the event loop: enough for all work that waits for nothing else. */
export async function manyTicks(): Promise<void> {
  for (let tick = 0; tick < 20; tick += 1) await new Promise((resolve) => setImmediate(resolve));
}
