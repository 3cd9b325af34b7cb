import type { Type } from '@nestjs/common';
import {
  GraphQLObjectType,
  type GraphQLFieldConfig,
  type GraphQLFieldConfigArgumentMap,
  type GraphQLOutputType,
  type GraphQLResolveInfo,
  type FieldNode,
  Kind,
  type SelectionSetNode,
} from 'graphql';
import type { ComposedResponse } from '../../audit/read/response-composition';
import { principalKey, requireScopes, type Principal, type Scope } from '../../auth/principal';
import { SubscriptionLimiter } from '../../concurrency/subscription-limiter';
import type { IdempotencyClaim } from '../../concurrency/idempotency-keys';
import { AppError, validationFailed } from '../../platform/errors/app-error';
import { onAbort } from '../../platform/runtime/abort';
import { validate } from '../../validation/compiled-validator';

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

/** The service or controller of a class: not bound to the schema, which is printed without them. */
type Get = <T>(type: Type<T>) => T;

export interface ResolverContext extends Writer {
  get: Get;
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
      get: Get,
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
      get: Get,
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
    resolve: (_, args, { get, ...caller }, info) => {
      requireScopes(caller.principal, [scope]);
      return resolve(get, args, caller, info);
    },
  }));
}

export function liveType(name: string, fields: LiveFields): GraphQLObjectType {
  return typeOf(name, fields, ({ scope, subscribe, resolve }) => ({
    subscribe: (_, args, { get, principal, signal }, info) => {
      requireScopes(principal, [scope]);
      return subscribe(get, args, { principal, signal }, info);
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

/** A live feed that counts for the caller's limit of subscriptions. @throws AppError TOO_MANY_REQUESTS */
export function limited<T>(
  get: Get,
  { principal, signal }: Caller,
  open: (signal: AbortSignal) => AsyncGenerator<T>,
): AsyncIterableIterator<T> {
  const release = get(SubscriptionLimiter).acquire(principalKey(principal), 'websocket');
  return liveFeed(signal, open, release);
}

/**
 * The elements of `open` until `signal` aborts. A generator that waits for an element sees `return` only after that
 * element; so its end aborts the signal that it was opened with. An expired token is an error. `release` is called once.
 */
export function liveFeed<T>(
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

export async function* chosen<T>(
  elements: AsyncGenerator<T>,
  isWanted: (element: T) => boolean,
): AsyncGenerator<T> {
  for await (const element of elements) if (isWanted(element)) yield element;
}

/** Selections by one name in the response, where their own selections are merged. */
export type SameField = [FieldNode, ...FieldNode[]];

export type Fragments = Record<string, { readonly selectionSet: SelectionSetNode }>;

/** The selections within these nodes, through fragments too; `@skip` and `@include` count for nothing. */
export function selectedIn(
  nodes: readonly { readonly selectionSet?: SelectionSetNode | undefined }[],
  fragments: Fragments,
): SameField[] {
  const fields = new Map<string, SameField>();
  const seen = new Set<string>();
  const take = (set: SelectionSetNode | undefined): void => {
    for (const selection of set?.selections ?? []) {
      if (selection.kind === Kind.FIELD) {
        const key = (selection.alias ?? selection.name).value;
        const same = fields.get(key);
        if (same) same.push(selection);
        else fields.set(key, [selection]);
      } else if (selection.kind === Kind.INLINE_FRAGMENT) {
        take(selection.selectionSet);
      } else if (!seen.has(selection.name.value)) {
        seen.add(selection.name.value);
        take(fragments[selection.name.value]?.selectionSet);
      }
    }
  };
  for (const { selectionSet } of nodes) take(selectionSet);
  return [...fields.values()];
}
