const MINUTES = 60;
const SECONDS_PER_MINUTE = 60;
/** Endpoints that are listed, the slowest first. */
const LISTED = 10;

/** The slow requests of the last hour. Averages in milliseconds, of the slow ones alone. */
export interface SlowRequestsReport {
  count: number;
  averageTime: number;
  slowestEndpoints: { endpoint: string; averageTime: number; count: number }[];
}

/** Counts and sums of one endpoint, a pair for each minute of the hour. */
interface Hour {
  minutes: Int32Array;
  counts: Int32Array;
  sumsMs: Float64Array;
}

/** Which endpoints were slow in the last hour. As many endpoints as its caller names: the recorder bounds them. */
export class SlowRequests {
  private readonly endpoints = new Map<string, Hour>();

  /** `nowSeconds` is a clock that only goes forward. */
  constructor(private readonly nowSeconds = () => performance.now() / 1000) {}

  record(endpoint: string, durationMs: number): void {
    let hour = this.endpoints.get(endpoint);
    if (!hour) this.endpoints.set(endpoint, (hour = emptyHour()));
    const minute = this.minute();
    const at = minute % MINUTES;
    if (hour.minutes[at] !== minute) {
      hour.minutes[at] = minute;
      hour.counts[at] = 0;
      hour.sumsMs[at] = 0;
    }
    hour.counts[at] = (hour.counts[at] ?? 0) + 1;
    hour.sumsMs[at] = (hour.sumsMs[at] ?? 0) + durationMs;
  }

  read(): SlowRequestsReport {
    const oldest = this.minute() - MINUTES + 1;
    const endpoints = [...this.endpoints]
      .map(([endpoint, hour]) => ({ endpoint, ...sumOf(hour, oldest) }))
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

  private minute(): number {
    return Math.floor(this.nowSeconds() / SECONDS_PER_MINUTE);
  }
}

function emptyHour(): Hour {
  return {
    minutes: new Int32Array(MINUTES).fill(-1),
    counts: new Int32Array(MINUTES),
    sumsMs: new Float64Array(MINUTES),
  };
}

function sumOf(hour: Hour, oldest: number): { count: number; sumMs: number } {
  let count = 0;
  let sumMs = 0;
  hour.minutes.forEach((minute, at) => {
    if (minute < oldest) return;
    count += hour.counts[at] ?? 0;
    sumMs += hour.sumsMs[at] ?? 0;
  });
  return { count, sumMs };
}
