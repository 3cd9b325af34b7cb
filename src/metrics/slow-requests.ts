import { RollingWindow } from '../platform/runtime/rolling-window';

const MINUTES = 60;
const SECONDS_PER_MINUTE = 60;
const LISTED = 10;

/** Last hour. Averages in milliseconds, of slow requests alone. */
export interface SlowRequestsReport {
  count: number;
  averageTime: number;
  slowestEndpoints: { endpoint: string; averageTime: number; count: number }[];
}

interface Tally {
  count: number;
  sumMs: number;
}

/** Endpoints that were slow in the last hour; the recorder bounds their number. */
export class SlowRequests {
  private readonly endpoints = new Map<string, RollingWindow<Tally>>();

  /** `nowSeconds` is a monotonic clock. */
  constructor(private readonly nowSeconds = () => performance.now() / 1000) {}

  record(endpoint: string, durationMs: number): void {
    let hour = this.endpoints.get(endpoint);
    if (!hour) this.endpoints.set(endpoint, (hour = emptyHour()));
    const minute = hour.current(this.nowSeconds());
    minute.count += 1;
    minute.sumMs += durationMs;
  }

  read(): SlowRequestsReport {
    const now = this.nowSeconds();
    const endpoints = [...this.endpoints]
      .map(([endpoint, hour]) => ({ endpoint, ...sumOf(hour.recent(now)) }))
      .filter(({ count }) => count > 0)
      .map(({ endpoint, count, sumMs }) => ({ endpoint, averageTime: sumMs / count, count }))
      .sort((a, b) => b.averageTime - a.averageTime);
    const count = endpoints.reduce((sum, endpoint) => sum + endpoint.count, 0);
    const sumMs = endpoints.reduce((sum, one) => sum + one.averageTime * one.count, 0);
    return {
      count,
      averageTime: count === 0 ? 0 : sumMs / count,
      slowestEndpoints: endpoints.slice(0, LISTED),
    };
  }
}

function emptyHour(): RollingWindow<Tally> {
  return new RollingWindow(
    SECONDS_PER_MINUTE,
    MINUTES,
    () => ({ count: 0, sumMs: 0 }),
    (minute) => Object.assign(minute, { count: 0, sumMs: 0 }),
  );
}

function sumOf(minutes: Tally[]): Tally {
  const sum = { count: 0, sumMs: 0 };
  for (const { count, sumMs } of minutes) {
    sum.count += count;
    sum.sumMs += sumMs;
  }
  return sum;
}
