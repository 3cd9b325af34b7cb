// Start: from the start of the process to the first 200 of /health/ready, and its memory then.
import { interleaved, report, residentMb, startReference, startService } from './support.mjs';

const IDLE_MS = 2000;

/** Beside the plain server, which has nothing to load: only reported. */
export async function start(databaseUrl) {
  const memory = { ours: [], plain: [] };
  const timed = (name, begin) => async () => {
    const startedMs = performance.now();
    const server = await begin();
    await untilReady(server.url, name === 'ours' ? '/health/ready' : '/?organization_ids=none');
    const tookMs = performance.now() - startedMs;
    await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
    memory[name].push(residentMb(server.pid));
    await server.stop();
    return tookMs;
  };
  const { ours, plain } = await interleaved({
    ours: timed('ours', () => startService(databaseUrl)),
    plain: timed('plain', () => startReference(databaseUrl)),
  });
  report('start, plain vs ours (ms)', plain, ours);
  report('idle memory, plain vs ours (MB)', memory.plain.slice(1), memory.ours.slice(1));
}

async function untilReady(url, path) {
  for (;;) {
    const response = await fetch(url + path).catch(() => undefined);
    await response?.arrayBuffer();
    if (response?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
