import { Injectable, Logger } from '@nestjs/common';
import { Session } from 'node:inspector/promises';
import { PACKAGE_ROOT } from '../platform/config/load-environment';
import { AppError } from '../platform/errors/app-error';
import { onAbort } from '../platform/runtime/abort';
import { Lifecycle } from '../platform/runtime/lifecycle';
import { type HeapProfile, scrubbedCpuProfile, scrubbedHeapProfile } from './scrubbed-profile';

/**
 * `cpu`: the code that the processor executes. `allocations`: the code that allocates memory. `heap`: as `allocations`,
 * without what was collected before the end.
 */
export const PROFILE_TYPES = ['cpu', 'heap', 'allocations'] as const;
export type ProfileType = (typeof PROFILE_TYPES)[number];

export const DEFAULT_SECONDS = 10;
/** The response is silent meanwhile, and this service and usual proxies cut connections that are silent for a minute. */
export const MAX_SECONDS = 50;

/** One sample a millisecond, as DevTools and `node --cpu-prof` take. */
const CPU_INTERVAL_MICROSECONDS = 1000;
/** V8's default; a sample stands for so many bytes on average. */
const HEAP_INTERVAL_BYTES = 32 * 1024;
const MS_PER_SECOND = 1000;

/** Turns V8's profiler on, and off with its profile. */
interface Recording {
  start(session: Session): Promise<unknown>;
  stop(session: Session): Promise<object>;
}

/** Samples of allocations; with `collected` also those that were freed since. Ends with a full garbage collection. */
function heapRecording(collected: boolean): Recording {
  return {
    start: async (session) => {
      await session.post('HeapProfiler.enable');
      return session.post('HeapProfiler.startSampling', {
        samplingInterval: HEAP_INTERVAL_BYTES,
        includeObjectsCollectedByMajorGC: collected,
        includeObjectsCollectedByMinorGC: collected,
      });
    },
    stop: async (session) => {
      const { profile } = await session.post('HeapProfiler.stopSampling');
      return scrubbedHeapProfile(profile as HeapProfile, PACKAGE_ROOT);
    },
  };
}

const RECORDINGS: Record<ProfileType, Recording> = {
  cpu: {
    start: async (session) => {
      await session.post('Profiler.enable');
      await session.post('Profiler.setSamplingInterval', { interval: CPU_INTERVAL_MICROSECONDS });
      return session.post('Profiler.start');
    },
    stop: async (session) => {
      const { profile } = await session.post('Profiler.stop');
      return scrubbedCpuProfile(profile, PACKAGE_ROOT);
    },
  },
  heap: heapRecording(false),
  allocations: heapRecording(true),
};

/** A profile that is being taken. */
export interface RunningProfile {
  /** JSON text that Chrome opens; undefined when the signal has aborted. Rejects when V8 fails. */
  text: Promise<string | undefined>;
}

/**
 * Takes profiles of this process with V8's sampling profilers, one at a time. A profile has names and places of
 * functions, times and sizes; a heap snapshot, which has the strings of clients too, cannot be had.
 */
@Injectable()
export class Profiler {
  private readonly logger = new Logger('Profiles');
  private endsAtMs: number | undefined;

  constructor(private readonly lifecycle: Lifecycle) {}

  /**
   * Begins a profile of `seconds`, or until the shutdown begins. An abort drops it at once.
   * @throws AppError CONFLICT while another one is taken, with the seconds until its end; INTERNAL when V8 fails.
   */
  async begin(type: ProfileType, seconds: number, signal: AbortSignal): Promise<RunningProfile> {
    if (this.endsAtMs !== undefined) throw this.conflict(this.endsAtMs);
    this.endsAtMs = performance.now() + seconds * MS_PER_SECOND;
    const session = new Session();
    const end = (): void => {
      session.disconnect(); // ends the recording too
      this.endsAtMs = undefined;
    };
    const recording = RECORDINGS[type];
    try {
      session.connect();
      await recording.start(session);
    } catch (error) {
      end();
      throw new AppError('INTERNAL', 'The profiler of this process could not be started.', {
        cause: error,
      });
    }
    this.logger.log(`A ${type} profile of ${seconds} s begins.`);
    const text = this.whenOver(signal, this.endsAtMs).then(async () => {
      if (signal.aborted) return undefined;
      return JSON.stringify(await recording.stop(session));
    });
    return { text: text.finally(end) };
  }

  private conflict(endsAtMs: number): AppError {
    const leftMs = endsAtMs - performance.now();
    return new AppError('CONFLICT', 'Another profile of this process is being taken.', {
      retryAfterSeconds: Math.max(1, Math.ceil(leftMs / MS_PER_SECOND)),
    });
  }

  /** Resolves at the time, at the beginning of the shutdown or on abort. */
  private whenOver(signal: AbortSignal, endsAtMs: number): Promise<void> {
    return new Promise((resolve) => {
      const over = (): void => {
        clearTimeout(timer);
        removeDraining();
        removeAbort();
        resolve();
      };
      const timer = setTimeout(over, endsAtMs - performance.now());
      const removeDraining = this.lifecycle.onDraining(over);
      const removeAbort = onAbort(signal, () => setImmediate(over));
      if (this.lifecycle.phase === 'draining') over();
    });
  }
}
