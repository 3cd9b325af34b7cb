import type { IncomingMessage } from 'node:http';
import type { Logger } from 'pino';
import type { Principal } from '../auth/principal';
import { requestIdOf } from './request-context';
import { traceContextOf } from './trace-context';

export interface FinishedRequest {
  request: IncomingMessage & { principal?: Principal };
  method: string;
  /** The template, never the path: paths and queries hold data. */
  route: string;
  status: number;
  ms: number;
}

/**
 * Logs principal, route, status and duration at `info`, slow requests as warnings. Never tokens, queries, bodies or
 * event ids.
 */
export class AccessLog {
  constructor(
    private readonly logger: Logger,
    private readonly slowThresholdMs: number,
  ) {}

  write({ request, method, route, status, ms }: FinishedRequest): void {
    const isSlow = ms >= this.slowThresholdMs;
    const level = isSlow ? 'warn' : 'info';
    if (!this.logger.isLevelEnabled(level)) return;
    const { traceId, spanId } = traceContextOf(request);
    const { principal } = request;
    const line = {
      context: 'Request',
      requestId: requestIdOf(request),
      traceId,
      spanId,
      principal: principal?.subject,
      organization: principal && organizationOf(principal),
      method,
      route,
      status,
      ms: Math.round(ms * 10) / 10,
    };
    if (isSlow) this.logger.warn(line, `Slow: ${method} ${route} ${status}`);
    else this.logger.info(line, `${method} ${route} ${status}`);
  }
}

/** The single organization, `*` for all, or their number. */
function organizationOf({ organizations }: Principal): string | number {
  if (organizations === '*') return '*';
  return organizations.length === 1 ? (organizations[0] ?? '') : organizations.length;
}
