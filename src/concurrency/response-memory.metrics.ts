import { Injectable } from '@nestjs/common';
import { ResponseMemory } from '../http/response-memory';
import { MetricRegistry } from '../metrics/metrics.registry';
import { CompositionPermits, ReadPermits } from './response-permits';

/** The memory for answers in the service's own figures. */
@Injectable()
export class ResponseMemoryMetrics {
  constructor(
    registry: MetricRegistry,
    memory: ResponseMemory,
    reads: ReadPermits,
    compositions: CompositionPermits,
  ) {
    registry.register(
      {
        name: 'answer_memory_reserved_bytes',
        help: 'Memory reserved for large answers that are being made or handed over.',
        type: 'gauge',
      },
      () => memory.reserved,
    );
    registry.register(
      {
        name: 'answer_memory_waiting_requests',
        help: 'Requests for large answers that wait for a permit.',
        type: 'gauge',
      },
      () => reads.queued + compositions.queued,
    );
    registry.register(
      {
        name: 'answer_memory_permits_total',
        help: 'Answers for which the shared memory did not suffice, by what became of them.',
        type: 'counter',
      },
      () => {
        const both = [reads.statistics(), compositions.statistics()];
        const sum = (of: (one: (typeof both)[number]) => number): number =>
          both.reduce((total, one) => total + of(one), 0);
        const counts = {
          granted: sum(({ granted }) => granted),
          refused: sum(({ shed, queueTimeouts }) => shed + queueTimeouts),
          timed_out: sum(({ timedOut }) => timedOut),
          cancelled: sum(({ cancelled }) => cancelled),
        };
        return Object.entries(counts).map(([outcome, value]) => ({ labels: { outcome }, value }));
      },
    );
  }
}
