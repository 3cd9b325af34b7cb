import type { TRPCError } from '@trpc/server';
import { failureOf } from './failure';

/** The HTTP status of an answer all of whose calls failed alike; otherwise tRPC's own is right. */
export function failureStatus(errors: TRPCError[], calls: number): number | undefined {
  if (errors.length === 0 || errors.length < calls) return undefined;
  const statuses = new Set(errors.map((error) => failureOf(error).status));
  return statuses.size === 1 ? [...statuses][0] : undefined;
}

/** The headers that every failure of an answer asks for; of `Retry-After` the longest. */
export function failureHeaders(errors: TRPCError[], calls: number): Record<string, string> {
  if (errors.length === 0 || errors.length < calls) return {};
  const failures = errors.map(failureOf);
  const [first, ...others] = failures.map(({ headers }) => headers);
  const shared = Object.entries(first ?? {}).filter(([name, value]) =>
    others.every((headers) => headers[name] === value),
  );
  const seconds = failures.map(({ retryAfterSeconds }) => retryAfterSeconds);
  const isRetried = seconds.every((one) => one !== undefined);
  const retry: Record<string, string> = isRetried
    ? { 'Retry-After': String(Math.ceil(Math.max(...seconds))) }
    : {};
  return { ...Object.fromEntries(shared), ...retry };
}
