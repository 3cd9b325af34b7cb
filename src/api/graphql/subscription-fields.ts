import { GraphQLNonNull, GraphQLString } from 'graphql';
import type { FeedEvent } from '../../audit/feed/event-feed';
import { AuditEventDto } from '../../audit/event/dto/responses.dto';
import {
  AuditEventFilterDto,
  AuditEventSearchDto,
  filterIn,
} from '../../audit/read/dto/audit-event-search.dto';
import type { Organizations } from '../../auth/principal';
import { globMatcher } from '../../caching/cache-key';
import { CacheInvalidationDto, InvalidationQuery } from '../../caching/cache.openapi';
import type { SubscriptionLimiter } from '../../concurrency/subscription-limiter';
import { AppError } from '../../platform/errors/app-error';
import { onAbort } from '../../platform/runtime/abort';
import { parseJsonWithPlaceholders } from '../../platform/runtime/lossless-json';
import {
  PerformanceAlertDto,
  PerformanceMetricsDto,
  SEVERITIES,
} from '../../metrics/dto/responses.dto';
import type { DerivedTypes } from './derived-types';
import { requireValid, type Caller, type LiveFields } from './root-fields';
import { requireFewMetadata } from './selected-fields';

export function eventSubscriptions(types: DerivedTypes): LiveFields {
  return {
    auditEventRecorded: {
      type: new GraphQLNonNull(types.output(AuditEventDto)),
      description:
        'Each event as it is recorded, on whichever replica; in every organization in the order of `sequence`, none left out or given twice.',
      scope: 'audit:read',
      args: {
        filter: { type: types.input(AuditEventFilterDto) },
        afterSequence: {
          type: GraphQLString,
          description:
            'Begin behind this: of one organization the `sequence` of the last event that you have (`0`: the beginning), of several a cursor of `/audit/events/tail` or tRPC. Left out: from now on.',
        },
        afterRecordedAt: {
          type: GraphQLString,
          description:
            'The `recordedAt` of that event. With it a subscription that goes on after the database has lost events is refused (`TIMELINE_CHANGED`) where another event has its number now; without it only where the number lies beyond the last one.',
        },
      },
      subscribe: async ({ feed }, args, { principal, signal }, info) => {
        const { filter, afterSequence, afterRecordedAt } = args;
        requireFewMetadata(info);
        const wanted = filterIn(requireValid(AuditEventSearchDto, { filter }).filter);
        const after = typeof afterSequence === 'string' ? afterSequence : undefined;
        const recordedAt = typeof afterRecordedAt === 'string' ? afterRecordedAt : undefined;
        let begun: Promise<unknown> | undefined;
        const events = liveFeed(signal, (own) => {
          const subscription = feed.follow(principal, {
            ...{ filter: wanted, after, afterRecordedAt: recordedAt, signal: own },
            kind: 'websocket',
          });
          ({ begun } = subscription);
          return subscription;
        });
        try {
          await begun;
        } catch (error) {
          await events.return?.();
          throw error;
        }
        return events;
      },
      resolve: ({ text }: FeedEvent) => parseJsonWithPlaceholders(text),
    },
  };
}

export function operatorSubscriptions(types: DerivedTypes): LiveFields {
  return {
    performanceMetricsUpdated: {
      type: new GraphQLNonNull(types.output(PerformanceMetricsDto)),
      description: 'How fast this replica is: now, then once a second.',
      scope: 'performance:read',
      subscribe: ({ limiter, metricsFeed }, _, caller) =>
        limited(limiter, caller, (signal) => metricsFeed.follow(signal)),
    },
    performanceAlert: {
      type: new GraphQLNonNull(types.output(PerformanceAlertDto)),
      description: 'Alerts of this replica as they are raised and, with `resolvedAt`, as they end.',
      scope: 'performance:read',
      args: { severity: { type: types.words(SEVERITIES), description: 'Left out: any.' } },
      subscribe: ({ limiter, alerts }, { severity }, caller) =>
        limited(limiter, caller, (signal) =>
          chosen(alerts.follow(signal), (alert) => (severity ?? alert.severity) === alert.severity),
        ),
    },
    cacheInvalidated: {
      type: new GraphQLNonNull(types.output(CacheInvalidationDto)),
      description:
        'Invalidations that somebody asked for, on whichever replica, when all organizations that they are for are those of the token.',
      scope: 'performance:read',
      args: {
        pattern: {
          type: GraphQLString,
          description: 'Those of this pattern, `*` standing for any text. Left out: all.',
        },
      },
      subscribe: ({ limiter, invalidation }, { pattern }, caller) => {
        if (typeof pattern === 'string') requireValid(InvalidationQuery, { pattern });
        const isMeant = typeof pattern === 'string' ? globMatcher(pattern) : () => true;
        const { organizations } = caller.principal;
        return limited(limiter, caller, (signal) =>
          chosen(
            invalidation.follow(signal),
            (done) => isMeant(done.pattern) && coversAll(organizations, done.tenants),
          ),
        );
      },
    },
  };
}

function limited<T>(
  limiter: SubscriptionLimiter,
  { principal, signal }: Caller,
  open: (signal: AbortSignal) => AsyncGenerator<T>,
): AsyncIterableIterator<T> {
  return liveFeed(signal, open, limiter.acquire(principal.subject, 'websocket'));
}

/**
 * The elements of `open` until `signal` aborts. A generator that waits for an element sees `return` only after that
 * element; so its end aborts the signal that it was opened with. An expired token is an error. `release` is called once.
 */
function liveFeed<T>(
  signal: AbortSignal,
  open: (signal: AbortSignal) => AsyncGenerator<T>,
  release: () => void = () => undefined,
): AsyncIterableIterator<T> {
  const own = new AbortController();
  const removeListener = onAbort(signal, () => own.abort(signal.reason));
  const finish = (): void => {
    removeListener();
    own.abort();
    release();
  };
  let source: AsyncGenerator<T>;
  try {
    source = open(own.signal);
  } catch (error) {
    finish();
    throw error;
  }
  return {
    async next() {
      try {
        const result = await source.next();
        if (!result.done) return result;
      } catch (error) {
        finish();
        throw error;
      }
      finish();
      const { reason } = signal as { reason: unknown };
      if (reason instanceof AppError && reason.code === 'UNAUTHENTICATED') throw reason;
      return { done: true, value: undefined };
    },
    async return() {
      finish();
      await source.return(undefined);
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

async function* chosen<T>(
  elements: AsyncGenerator<T>,
  isWanted: (element: T) => boolean,
): AsyncGenerator<T> {
  for await (const element of elements) if (isWanted(element)) yield element;
}

function coversAll(organizations: Organizations, ids: Organizations): boolean {
  if (organizations === '*' || ids === '*') return organizations === '*';
  return ids.every((id) => organizations.includes(id));
}
