import {
  GraphQLObjectType,
  type GraphQLFieldConfig,
  type GraphQLFieldConfigArgumentMap,
  type GraphQLOutputType,
  type GraphQLResolveInfo,
} from 'graphql';
import type { ComposedResponse } from '../../audit/read/response-composition';
import { requireScopes, type Principal, type Scope } from '../../auth/principal';
import type { IdempotencyClaim } from '../../concurrency/idempotency-keys';
import { validationFailed } from '../../platform/errors/app-error';
import { validate } from '../../validation/compiled-validator';
import type { GraphqlServices } from './graphql-services';

export interface Caller {
  principal: Principal;
  signal: AbortSignal;
}

export interface Writer extends Caller {
  /** The response that all fields are parts of. A subscription has none: its parts would be kept while it goes on. */
  response: ComposedResponse;
  flow: string;
  claim?: IdempotencyClaim | undefined;
  /** To be called when the result is that of an earlier request. */
  noteReplay?: () => void;
}

export interface ResolverContext extends Writer {
  services: GraphqlServices;
}

interface Field {
  type: GraphQLOutputType;
  description: string;
  scope: Scope;
  args?: GraphQLFieldConfigArgumentMap;
}

export type RootFields = Record<
  string,
  Field & {
    /** @throws AppError */
    resolve: (
      services: GraphqlServices,
      args: Record<string, unknown>,
      caller: Writer,
      info: GraphQLResolveInfo,
    ) => unknown;
  }
>;

/** Subscriptions: each element of `subscribe` becomes a result by `resolve`. */
export type LiveFields = Record<
  string,
  Field & {
    /** @throws AppError, also from the iteration. */
    subscribe: (
      services: GraphqlServices,
      args: Record<string, unknown>,
      caller: Caller,
      info: GraphQLResolveInfo,
    ) => AsyncIterableIterator<unknown> | Promise<AsyncIterableIterator<unknown>>;
    resolve?: (element: never) => unknown;
  }
>;

type FieldConfig = GraphQLFieldConfig<unknown, ResolverContext, Record<string, unknown>>;

/** `Query` or `Mutation`, each field for callers with its scope. */
export function rootType(name: string, fields: RootFields): GraphQLObjectType {
  return typeOf(name, fields, ({ scope, resolve }) => ({
    resolve: (_, args, { services, ...caller }, info) => {
      requireScopes(caller.principal, [scope]);
      return resolve(services, args, caller, info);
    },
  }));
}

export function liveType(name: string, fields: LiveFields): GraphQLObjectType {
  return typeOf(name, fields, ({ scope, subscribe, resolve }) => ({
    subscribe: (_, args, { services, principal, signal }, info) => {
      requireScopes(principal, [scope]);
      return subscribe(services, args, { principal, signal }, info);
    },
    resolve: (element) => (resolve ? resolve(element as never) : element),
  }));
}

function typeOf<F extends Field>(
  name: string,
  fields: Record<string, F>,
  resolversOf: (field: F) => Pick<FieldConfig, 'resolve' | 'subscribe'>,
): GraphQLObjectType {
  const configs = Object.entries(fields).map(([field, config]): [string, FieldConfig] => {
    const { type, description, args = {}, scope } = config;
    const needs = `${description} Needs \`${scope}\`.`;
    return [field, { type, description: needs, args, ...resolversOf(config) }];
  });
  return new GraphQLObjectType({ name, fields: Object.fromEntries(configs) });
}

/** @throws AppError VALIDATION_FAILED */
export function requireValid<T extends object>(dto: new () => T, value: unknown): T {
  const violations = validate(dto, value);
  if (violations.length > 0) throw validationFailed(violations);
  return value as T;
}
