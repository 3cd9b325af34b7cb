import {
  Injectable,
  Logger,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
} from '@nestjs/common';
import { wallClockMs } from '../platform/runtime/clocks';
import { labelled, MetricRegistry } from './metrics.registry';

const SAMPLE_INTERVAL_MS = 250;
/** NTP slews a clock by at most half a millisecond a second: this much between two samples is a step. */
const STEP_MS = 100;
/** A slower pair of readings, as the process was not running in between, is repeated. */
const MAX_READING_MS = 1;
const READINGS = 5;
const MS_PER_SECOND = 1000;

/**
 * Detects steps of the wall clock by comparing it with the monotonic clock four times a second. A step is logged once
 * and counted; it changes neither deadlines nor ages here (docs/adr/0033-two-clocks.md).
 */
@Injectable()
export class ClockWatch implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger('Clock');
  private readonly steps = { ahead: 0, back: 0 };
  private readonly firstOffsetMs = readOffsetMs();
  private offsetMs = this.firstOffsetMs;
  private sampling: NodeJS.Timeout | undefined;

  constructor(registry: MetricRegistry) {
    registry.counter(
      'audit_clock_steps_total',
      'Times that the wall clock of the machine was set by 0.1 s or more, by direction.',
      () => labelled('direction', this.steps),
    );
    registry.gauge(
      'audit_clock_offset_seconds',
      'How far the wall clock has moved since the start beyond the time that has passed; negative: back.',
      () => (readOffsetMs() - this.firstOffsetMs) / MS_PER_SECOND,
    );
  }

  onApplicationBootstrap(): void {
    this.sampling = setInterval(() => this.sample(), SAMPLE_INTERVAL_MS).unref();
  }

  onApplicationShutdown(): void {
    clearInterval(this.sampling);
  }

  sample(): void {
    const offsetMs = readOffsetMs();
    const stepMs = offsetMs - this.offsetMs;
    this.offsetMs = offsetMs;
    if (Math.abs(stepMs) < STEP_MS) return;
    const direction = stepMs > 0 ? 'ahead' : 'back';
    this.steps[direction] += 1;
    const seconds = (Math.abs(stepMs) / MS_PER_SECOND).toFixed(1);
    const sinceStart = ((offsetMs - this.firstOffsetMs) / MS_PER_SECOND).toFixed(1);
    this.logger.warn(
      `The wall clock of this machine was set ${direction} by ${seconds} s (${sinceStart} s since the start): ` +
        'tokens, and events without a timestamp, go by it. Check its time synchronization.',
    );
  }
}

/** Milliseconds of the wall clock ahead of performance.now(): the closest of a few pairs of readings. */
function readOffsetMs(): number {
  let best = { tookMs: Infinity, offsetMs: 0 };
  for (let reading = 0; reading < READINGS && best.tookMs > MAX_READING_MS; reading += 1) {
    const beforeMs = performance.now();
    const wallMs = wallClockMs();
    const tookMs = performance.now() - beforeMs;
    if (tookMs < best.tookMs) best = { tookMs, offsetMs: wallMs - beforeMs };
  }
  return best.offsetMs;
}
