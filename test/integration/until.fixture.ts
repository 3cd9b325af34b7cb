import { setTimeout as sleep } from 'node:timers/promises';

/** Resolves once `condition` holds; asked again every few milliseconds. Jest's own timeout is the limit. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(5);
}
