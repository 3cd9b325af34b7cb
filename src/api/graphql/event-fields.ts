import {
  GraphQLBoolean,
  GraphQLFloat,
  GraphQLID,
  GraphQLInt,
  GraphQLList,
  GraphQLNonNull,
  GraphQLObjectType,
  type GraphQLOutputType,
  GraphQLString,
  type GraphQLResolveInfo,
} from 'graphql';
import { EventFeed, type FeedEvent } from '../../audit/feed/event-feed';
import { AuditSearch, type FoundEvents } from '../../audit/read/audit-search';
import { AuditService } from '../../audit/write/audit.service';
import { FairScheduler } from '../../concurrency/fair-scheduler';
import type { SearchOptions } from '../../audit/read/response-composition';
import {
  AuditEventDto,
  BulkCreateResultDto,
  PARTIAL_PAGE,
  RESUME_CURSOR,
} from '../../audit/event/dto/responses.dto';
import {
  AuditEventCountsDto,
  AuditEventCountsSearchDto,
} from '../../audit/read/dto/audit-event-counts.dto';
import { COUNT_KEYS } from '../../audit/read/count-statement';
import {
  AuditEventFilterDto,
  AuditEventSearchDto,
  filterIn,
  PaginationDto,
} from '../../audit/read/dto/audit-event-search.dto';
import { AuditEventQuery } from '../../audit/read/dto/audit-events-query.dto';
import {
  BulkCreateAuditEventsDto,
  CreateAuditEventDto,
} from '../../audit/event/dto/create-audit-event.dto';
import { AppError, validationFailed } from '../../platform/errors/app-error';
import { parseJsonWithPlaceholders } from '../../platform/runtime/lossless-json';
import type { DerivedTypes } from './derived-types';
import {
  type Fragments,
  liveFeed,
  type LiveFields,
  requireValid,
  type RootFields,
  type SameField,
  selectedIn,
} from './root-fields';

/** The path of this API in the settings of the cache. */
const PATH = '/graphql';
/** 49 of them, of an event with 80 000 numbers that a double cannot hold, took more than a second to write. */
const MAX_SELECTIONS_OF_LARGE = 2;
/** Members of any size, which are JSON as a whole. */
const LARGE_MEMBERS = ['metadata', 'changes'];
/** Of all targets of a page: each is resolved by itself, and an event may have a hundred. */
const MAX_TARGET_FIELDS = 50_000;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export function eventQueries(types: DerivedTypes): RootFields {
  return {
    optimizedAuditEvents: {
      type: new GraphQLNonNull(connectionType(types)),
      description: 'A page of the events that the token may see.',
      scope: 'audit:read',
      args: {
        filter: { type: types.input(AuditEventFilterDto) },
        pagination: { type: types.input(PaginationDto) },
        useCache: { type: GraphQLBoolean, defaultValue: true },
        cacheTTL: { type: GraphQLInt, defaultValue: 300, description: 'Seconds: 60 to 3600.' },
      },
      resolve: async (get, args, { principal, signal, response }, info) => {
        const wanted = requireValid(AuditEventSearchDto, args);
        const selected = selectedIn(info.fieldNodes, info.fragments);
        const pagination = { ...wanted.pagination, includeTotal: isTotalWanted(selected, info) };
        const edges = selected.filter(([{ name }]) => name.value === 'edges');
        const copies = copiesIn(edges, info.fragments);
        const cursors = cursorsIn(edges, info.fragments);
        const options: SearchOptions = {
          path: PATH,
          signal: () => signal,
          response,
          copies,
          cursors,
        };
        const found = await get(AuditSearch).findPage(
          principal,
          { ...wanted, pagination },
          options,
        );
        requireFewTargets(found.data, edges, info.fragments);
        return connectionOf(found);
      },
    },
    auditEventCounts: {
      type: new GraphQLNonNull(types.output(AuditEventCountsDto)),
      description:
        'How many events the token may see of each value: the 100 with most events; or of each day or hour of at most 1200.',
      scope: 'audit:read',
      args: {
        by: {
          type: new GraphQLNonNull(types.words(COUNT_KEYS)),
          description: 'DAY and HOUR need the start of a range.',
        },
        filter: { type: types.input(AuditEventFilterDto) },
        timeZone: {
          type: GraphQLString,
          description: 'Whose days are counted, such as Europe/Berlin. Left out: UTC.',
        },
        useCache: { type: GraphQLBoolean, defaultValue: true },
        cacheTTL: { type: GraphQLInt, defaultValue: 300, description: 'Seconds: 60 to 3600.' },
      },
      resolve: (get, args, { principal, signal, response }, { fieldNodes, fragments }) => {
        const wanted = requireValid(AuditEventCountsSearchDto, args);
        const copies = copiesIn(selectedIn(fieldNodes, fragments), fragments);
        const options: SearchOptions = { path: PATH, signal: () => signal, response, copies };
        return get(AuditSearch).findCounts(principal, wanted, options);
      },
    },
    auditEvent: {
      type: types.output(AuditEventDto),
      description: 'One event; NOT_FOUND also when it is one of another organization.',
      scope: 'audit:read',
      args: {
        id: { type: new GraphQLNonNull(GraphQLID) },
        organizationId: {
          type: GraphQLString,
          description:
            'Look only in this organization: ids that clients chose are unique only within one. Without it, an id that several organizations of the token have is a CONFLICT that names them.',
        },
      },
      resolve: (get, args, { principal, signal, response }, { fieldNodes, fragments }) => {
        const id = String(args.id);
        const organizationId = organizationIn(args.organizationId);
        if (!UUID.test(id)) {
          throw validationFailed([{ path: 'id', message: 'must be a UUID' }]);
        }
        const copies = copiesIn(selectedIn(fieldNodes, fragments), fragments);
        const options: SearchOptions = { path: PATH, signal: () => signal, response, copies };
        return get(AuditSearch)
          .findById(principal, { id, organizationId }, options)
          .catch(atArgument);
      },
    },
  };
}

export function eventMutations(types: DerivedTypes): RootFields {
  const event = new GraphQLNonNull(types.input(CreateAuditEventDto));
  return {
    createAuditEvent: {
      type: new GraphQLNonNull(types.output(AuditEventDto)),
      description: 'Stores one event. Repeating it with an id of your own stores nothing new.',
      scope: 'audit:write',
      args: { event: { type: event } },
      resolve: async (get, args, caller, info) => {
        requireFewLarge(info);
        const dto = requireValid(CreateAuditEventDto, args.event);
        const { principal, flow, signal, claim, noteReplay } = caller;
        const { text, replayed } = await get(FairScheduler).run({ flow, signal }, () =>
          get(AuditService).create(principal, dto, { claim, signal }),
        );
        if (replayed) noteReplay?.();
        return parseJsonWithPlaceholders(text); // as for events that are read
      },
    },
    bulkCreateAuditEvents: {
      type: new GraphQLNonNull(types.output(BulkCreateResultDto)),
      description: 'Stores several events in one transaction, all or none.',
      scope: 'audit:write',
      args: {
        events: { type: new GraphQLNonNull(new GraphQLList(event)) },
        batchSize: { type: GraphQLInt, description: 'Rows per INSERT: 1 to 10 000.' },
      },
      resolve: async (get, args, caller) => {
        const dto = requireValid(BulkCreateAuditEventsDto, args);
        const { principal, flow, signal, claim, noteReplay } = caller;
        const { result, replayed } = await get(FairScheduler).run({ flow, signal }, () =>
          get(AuditService).createBulk(principal, dto, { claim, signal }),
        );
        if (replayed) noteReplay?.();
        return result;
      },
    },
  };
}

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
            'Begin behind this: of one organization the `sequence` of the last event that you have (`0`: the beginning), of several, or all, an id of `/audit/events/tail` or tRPC. Left out: from now on.',
        },
        afterRecordedAt: {
          type: GraphQLString,
          description:
            'The `recordedAt` of that event. With it a subscription that goes on after the database has lost events is refused (`TIMELINE_CHANGED`) where another event has its number now; without it only where the number lies beyond the last one.',
        },
      },
      subscribe: async (get, args, { principal, signal }, info) => {
        requireFewLarge(info);
        const { filter: given } = requireValid(AuditEventSearchDto, { filter: args.filter });
        const [after, afterRecordedAt] = [args.afterSequence, args.afterRecordedAt].map((text) =>
          typeof text === 'string' ? text : undefined,
        );
        let begun: Promise<unknown> | undefined;
        const events = liveFeed(signal, (own) => {
          const subscription = get(EventFeed).follow(principal, {
            filter: filterIn(given),
            after,
            afterRecordedAt,
            signal: own,
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

/** @throws AppError VALIDATION_FAILED, as for the parameter `organization_ids` of REST. */
function organizationIn(given: unknown): string | undefined {
  if (given === undefined || given === null) return undefined;
  try {
    const { organization_ids: ids } = requireValid(AuditEventQuery, { organization_ids: [given] });
    return ids?.[0];
  } catch (failure) {
    return atArgument(failure);
  }
}

/** Throws a failure again, its path spelt as an argument of `auditEvent`. */
function atArgument(failure: unknown): never {
  if (!(failure instanceof AppError) || !failure.errors) throw failure;
  const errors = failure.errors.map(({ path, message }) => ({
    path: path.startsWith('organization_ids') ? 'organizationId' : path,
    message,
  }));
  if (failure.code === 'VALIDATION_FAILED') throw validationFailed(errors);
  throw new AppError(failure.code, failure.detail, { errors });
}

function connectionOf({ data, pagination, cacheInfo, cursorAfter }: FoundEvents): object {
  const { total } = pagination;
  return {
    edges: data.map((node, index) => ({ node, cursor: () => cursorAfter(index) })),
    pageInfo: {
      hasNextPage: pagination.hasNext,
      hasPreviousPage: pagination.hasPrevious,
      startCursor: pagination.previousCursor,
      endCursor: pagination.nextCursor,
      resumeCursor: pagination.resumeCursor,
      partial: pagination.partial ?? false,
      total,
      totalIsExact: pagination.totalIsExact,
    },
    totalCount: total,
    cacheInfo,
  };
}

function connectionType(types: DerivedTypes): GraphQLObjectType {
  const required = (type: GraphQLOutputType, description?: string) => ({
    type: new GraphQLNonNull(type),
    description,
  });
  const total = {
    type: GraphQLInt,
    description: 'Exact up to 10 000, then a lower bound, as when the time for the count was over.',
  };
  const edge = new GraphQLObjectType({
    name: 'AuditEventEdge',
    fields: {
      node: required(types.output(AuditEventDto)),
      cursor: required(GraphQLString),
    },
  });
  const pageInfo = new GraphQLObjectType({
    name: 'PageInfo',
    fields: {
      hasNextPage: required(GraphQLBoolean),
      hasPreviousPage: required(GraphQLBoolean),
      startCursor: { type: GraphQLString, description: 'For `cursor`: the page before this one.' },
      endCursor: { type: GraphQLString, description: 'For `cursor`: the page after this one.' },
      resumeCursor: { type: GraphQLString, description: RESUME_CURSOR },
      partial: required(GraphQLBoolean, PARTIAL_PAGE),
      total,
      totalIsExact: {
        type: GraphQLBoolean,
        description: 'Where `total` or `totalCount` is selected: false for a lower bound.',
      },
    },
  });
  const cacheInfo = new GraphQLObjectType({
    name: 'CacheInfo',
    fields: {
      cached: required(GraphQLBoolean),
      cacheKey: { type: GraphQLString, description: 'Null when the answer is not kept.' },
      ttl: required(GraphQLInt, 'Seconds.'),
      hitRatio: required(GraphQLFloat, 'Percent.'),
    },
  });
  return new GraphQLObjectType({
    name: 'OptimizedAuditEventConnection',
    fields: {
      edges: required(new GraphQLList(new GraphQLNonNull(edge))),
      pageInfo: required(pageInfo),
      totalCount: total,
      cacheInfo: required(cacheInfo),
    },
  });
}

/** Members of `pageInfo` for which events are counted. */
const TOTALS = new Set(['total', 'totalIsExact']);

/** Counting costs more than the page: it is done where the count is selected. */
function isTotalWanted(selected: readonly SameField[], { fragments }: GraphQLResolveInfo): boolean {
  return selected.some((same) => {
    const [{ name }] = same;
    if (name.value !== 'pageInfo') return name.value === 'totalCount';
    return selectedIn(same, fragments).some(([inner]) => TOTALS.has(inner.name.value));
  });
}

/** Highest count of selections of one field, aliases included: the response may be as many times larger than the data read. */
function copiesIn(selected: readonly SameField[], fragments: Fragments): number {
  const counts = new Map<string, number>();
  const count = (fields: readonly SameField[], parent: string): void => {
    for (const same of fields) {
      const [{ name, selectionSet }] = same;
      const path = `${parent}.${name.value}`;
      if (selectionSet) count(selectedIn(same, fragments), path);
      else counts.set(path, (counts.get(path) ?? 0) + 1);
    }
  };
  count(selected, '');
  return Math.max(1, ...counts.values());
}

/** Selections of the cursor of each event, aliases included: the events do not have its text. */
function cursorsIn(edges: readonly SameField[], fragments: Fragments): number {
  const selected = edges.flatMap((same) => selectedIn(same, fragments));
  return selected.filter(([{ name }]) => name.value === 'cursor').length;
}

/** Refuses repetitions of the large members of an event, before there is an event. @throws AppError VALIDATION_FAILED */
function requireFewLarge({ fieldNodes, fragments }: GraphQLResolveInfo): void {
  const fields = selectedIn(fieldNodes, fragments);
  for (const path of LARGE_MEMBERS) {
    const { length } = fields.filter(([{ name }]) => name.value === path);
    if (length <= MAX_SELECTIONS_OF_LARGE) continue;
    const message = `must be selected at most ${MAX_SELECTIONS_OF_LARGE} times, not ${length}`;
    throw validationFailed([{ path, message }]);
  }
}

/** @throws AppError REQUEST_TOO_LARGE for more than MAX_TARGET_FIELDS in a page with this selection of `edges`. */
function requireFewTargets(
  events: readonly AuditEventDto[],
  edges: readonly SameField[],
  fragments: Fragments,
): void {
  const within = (fields: readonly SameField[]) =>
    fields.flatMap((same) => selectedIn(same, fragments));
  const named = (fields: readonly SameField[], member: string) =>
    fields.filter(([{ name }]) => name.value === member);
  const selected = within(named(within(named(within(edges), 'node')), 'targets')).length;
  if (selected === 0) return;
  const targets = events.reduce((sum, event) => sum + (event.targets?.length ?? 0), 0);
  if (selected * targets <= MAX_TARGET_FIELDS) return;
  throw new AppError(
    'REQUEST_TOO_LARGE',
    `The answer would have ${selected * targets} fields of targets, of at most ${MAX_TARGET_FIELDS}: ask for fewer events at once.`,
  );
}
