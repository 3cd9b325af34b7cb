import {
  GraphQLBoolean,
  GraphQLFloat,
  GraphQLID,
  GraphQLInt,
  GraphQLList,
  GraphQLNonNull,
  GraphQLObjectType,
  GraphQLString,
  type GraphQLResolveInfo,
} from 'graphql';
import type { FoundEvents } from '../../audit/read/audit-search';
import type { SearchOptions } from '../../audit/read/response-composition';
import { AuditEventDto, BulkCreateResultDto } from '../../audit/event/dto/responses.dto';
import {
  AuditEventFilterDto,
  AuditEventSearchDto,
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
import { requireValid, type RootFields } from './root-fields';
import { copiesIn, requireFewMetadata, type SameField, selectedIn } from './selected-fields';

/** The path of this API in the settings of the cache. */
const PATH = '/graphql';
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
      resolve: async ({ search }, args, { principal, signal, response }, info) => {
        const wanted = requireValid(AuditEventSearchDto, args);
        const selected = selectedIn(info.fieldNodes, info.fragments);
        const pagination = { ...wanted.pagination, includeTotal: isTotalWanted(selected, info) };
        const edges = selected.filter(([{ name }]) => name.value === 'edges');
        const copies = copiesIn(edges, info.fragments);
        const options: SearchOptions = { path: PATH, signal: () => signal, response, copies };
        return connectionOf(await search.findPage(principal, { ...wanted, pagination }, options));
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
      resolve: ({ search }, args, { principal, signal, response }, { fieldNodes, fragments }) => {
        const { id } = args;
        const organizationId = organizationIn(args.organizationId);
        if (!UUID.test(String(id))) {
          throw validationFailed([{ path: 'id', message: 'must be a UUID' }]);
        }
        const copies = copiesIn(selectedIn(fieldNodes, fragments), fragments);
        const options: SearchOptions = { path: PATH, signal: () => signal, response, copies };
        const named = { id: String(id), organizationId };
        return search.findById(principal, named, options).catch(atArgument);
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
      resolve: async ({ audit, scheduler }, args, caller, info) => {
        requireFewMetadata(info);
        const dto = requireValid(CreateAuditEventDto, args.event);
        const { principal, flow, signal, claim, noteReplay } = caller;
        const { text, replayed } = await scheduler.run({ flow, signal }, () =>
          audit.create(principal, dto, { claim, signal }),
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
      resolve: async ({ audit, scheduler }, args, caller) => {
        const dto = requireValid(BulkCreateAuditEventsDto, args);
        const { principal, flow, signal, claim, noteReplay } = caller;
        const { result, replayed } = await scheduler.run({ flow, signal }, () =>
          audit.createBulk(principal, dto, { claim, signal }),
        );
        if (replayed) noteReplay?.();
        return result;
      },
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
    edges: data.map((node) => ({ node, cursor: () => cursorAfter(node) })),
    pageInfo: {
      hasNextPage: pagination.hasNext,
      hasPreviousPage: pagination.hasPrevious,
      startCursor: pagination.previousCursor,
      endCursor: pagination.nextCursor,
      total,
    },
    totalCount: total,
    cacheInfo,
  };
}

function connectionType(types: DerivedTypes): GraphQLObjectType {
  const required = <T extends GraphQLObjectType>(type: T) => ({ type: new GraphQLNonNull(type) });
  const text = { type: new GraphQLNonNull(GraphQLString) };
  const flag = { type: new GraphQLNonNull(GraphQLBoolean) };
  const edge = new GraphQLObjectType({
    name: 'AuditEventEdge',
    fields: { node: required(types.output(AuditEventDto)), cursor: text },
  });
  const total = { type: GraphQLInt, description: 'Exact up to 10 000, then a lower bound.' };
  const pageInfo = new GraphQLObjectType({
    name: 'PageInfo',
    fields: {
      hasNextPage: flag,
      hasPreviousPage: flag,
      startCursor: { type: GraphQLString, description: 'For `cursor`: the page before this one.' },
      endCursor: { type: GraphQLString, description: 'For `cursor`: the page after this one.' },
      total,
    },
  });
  const cacheInfo = new GraphQLObjectType({
    name: 'CacheInfo',
    fields: {
      cached: flag,
      cacheKey: { type: GraphQLString, description: 'Null when the answer is not kept.' },
      ttl: { type: new GraphQLNonNull(GraphQLInt), description: 'Seconds.' },
      hitRatio: { type: new GraphQLNonNull(GraphQLFloat), description: 'Percent.' },
    },
  });
  return new GraphQLObjectType({
    name: 'OptimizedAuditEventConnection',
    fields: {
      edges: { type: new GraphQLNonNull(new GraphQLList(new GraphQLNonNull(edge))) },
      pageInfo: required(pageInfo),
      totalCount: total,
      cacheInfo: required(cacheInfo),
    },
  });
}

/** Counting costs more than the page: it is done where the count is selected. */
function isTotalWanted(selected: readonly SameField[], { fragments }: GraphQLResolveInfo): boolean {
  return selected.some((same) => {
    const [{ name }] = same;
    if (name.value !== 'pageInfo') return name.value === 'totalCount';
    return selectedIn(same, fragments).some(([inner]) => inner.name.value === 'total');
  });
}
