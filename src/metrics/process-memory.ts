import { totalmem } from 'node:os';
import { getHeapStatistics } from 'node:v8';

/** Memory against the limit that ends the process: bytes, and percent with one decimal. */
export interface MemoryUsage {
  used: number;
  total: number;
  percentage: number;
  limit: 'heap' | 'container' | 'machine';
}

/**
 * The nearer of two limits that can end the process, with its usage: V8's for the heap; for all of it the container's
 * (cgroup) or else the machine's.
 */
export function memoryUsage(): MemoryUsage {
  const { used_heap_size: heapUsed, heap_size_limit: heapLimit } = getHeapStatistics();
  const heap = usageOf(heapUsed, heapLimit, 'heap');
  const { bytes, limit } = processLimit();
  const whole = usageOf(process.memoryUsage.rss(), bytes, limit);
  return heap.percentage >= whole.percentage ? heap : whole;
}

export function processLimit(): { bytes: number; limit: 'container' | 'machine' } {
  const machine = totalmem();
  // Zero or more than there is: no cgroup, or one without a limit.
  const constrained = process.constrainedMemory?.() ?? 0;
  const isConstrained = constrained > 0 && constrained < machine;
  return isConstrained
    ? { bytes: constrained, limit: 'container' }
    : { bytes: machine, limit: 'machine' };
}

function usageOf(used: number, total: number, limit: MemoryUsage['limit']): MemoryUsage {
  return { used, total, percentage: Math.round((1000 * used) / total) / 10, limit };
}
