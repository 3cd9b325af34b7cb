import type { HeapProfiler, Profiler, Runtime } from 'node:inspector/promises';
import { sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** V8 names the compiled code of a regular expression after its pattern, which may be made of a client's text. */
const REGULAR_EXPRESSION = /^RegExp: /;
/** Names from source text, and V8's own: `(garbage collector)`, `get size`, `Database.withClient`, `<static_initializer>`. */
const NAME =
  /^(?:\([a-z ]+\)|(?:(?:get|set) )?(?:[#\w$<>]+|\[[\w.]+\])(?:\.(?:[#\w$<>]+|\[[\w.]+\]))*)?$/;
/** Exceeds every name of this service and its libraries; tokens are longer. */
const MAX_NAME_LENGTH = 100;
const PACKAGES = 'node_modules/';

/** A place in the code as a profile may name it: no text of a client, no path of the machine. */
function scrubbedFrame(
  { functionName, scriptId, url, lineNumber, columnNumber }: Runtime.CallFrame,
  root: string,
): Runtime.CallFrame {
  const path = relativePath(url, root);
  return { functionName: safeName(functionName), scriptId, url: path, lineNumber, columnNumber };
}

function safeName(name: string): string {
  if (REGULAR_EXPRESSION.test(name)) return '(regular expression)';
  return name.length <= MAX_NAME_LENGTH && NAME.test(name) ? name : '(other)';
}

/**
 * `src/http/http-server.ts`, `node_modules/pg/lib/client.js`, `node:net`; '' for any other, such as evaluated code,
 * whose URL may be its text.
 */
function relativePath(url: string, root: string): string {
  if (/^node:[\w/]+$/.test(url)) return url;
  const path = pathOf(url).split(sep).join('/');
  const base = `${root.split(sep).join('/')}/`;
  if (path.startsWith(base)) return path.slice(base.length);
  const packages = path.indexOf(`/${PACKAGES}`); // installed beside the application
  return path.startsWith('/') && packages !== -1 ? path.slice(packages + 1) : '';
}

function pathOf(url: string): string {
  if (!url.startsWith('file://')) return url;
  try {
    return fileURLToPath(url);
  } catch {
    return ''; // of another host, or with an encoded separator
  }
}

/** A CPU profile with known members alone; `root` is the folder of the application. */
export function scrubbedCpuProfile(profile: Profiler.Profile, root: string): Profiler.Profile {
  const { nodes, startTime, endTime, samples, timeDeltas } = profile;
  return {
    nodes: nodes.map(({ id, callFrame, hitCount, children, positionTicks }) => ({
      id,
      callFrame: scrubbedFrame(callFrame, root),
      hitCount,
      children,
      positionTicks: positionTicks?.map(({ line, ticks }) => ({ line, ticks })),
    })),
    startTime,
    endTime,
    samples,
    timeDeltas,
  };
}

/** Members that V8 sends and Node's declarations omit. */
interface HeapNode extends HeapProfiler.SamplingHeapProfileNode {
  id: number;
  children: HeapNode[];
}

interface HeapSample {
  size: number;
  nodeId: number;
  ordinal: number;
}

export interface HeapProfile {
  head: HeapNode;
  samples: HeapSample[];
}

/** A sampling heap profile with known members alone. */
export function scrubbedHeapProfile({ head, samples }: HeapProfile, root: string): HeapProfile {
  const scrubbed = ({ callFrame, selfSize, id, children }: HeapNode): HeapNode => ({
    callFrame: scrubbedFrame(callFrame, root),
    selfSize,
    id,
    children: children.map(scrubbed), // V8 keeps stacks of at most 128 frames
  });
  return {
    head: scrubbed(head),
    samples: samples.map(({ size, nodeId, ordinal }) => ({ size, nodeId, ordinal })),
  };
}
