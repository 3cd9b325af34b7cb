import type { GraphQLFieldConfigArgumentMap, GraphQLOutputType, GraphQLResolveInfo } from 'graphql';
import type { ComposedResponse } from '../../audit/read/response-composition';
import type { Principal, Scope } from '../../auth/principal';
import type { IdempotencyClaim } from '../../concurrency/idempotency-keys';

/** Who calls, and until when somebody waits for the answer. */
export interface Caller {
  principal: Principal;
  signal: AbortSignal;
}

/** A caller of a field whose value is made once. A subscription has no such answer: its parts would be held while it goes on. */
export interface Reader extends Caller {
  /** The answer that all fields are parts of. */
  answer: ComposedResponse;
}

/** A caller of a field that may write. */
export interface Writer extends Reader {
  /** In which it waits for a turn to work. */
  flow: string;
  /** What the request's `Idempotency-Key` claims, for its one write. */
  claim?: IdempotencyClaim;
  /** Told when the answer is one that was given before. */
  noteReplay?: () => void;
}

/** One thing that can be asked for. `S` is what answers it. */
export interface RootField<S> {
  type: GraphQLOutputType;
  description: string;
  scope: Scope;
  args?: GraphQLFieldConfigArgumentMap;
  /** @throws AppError */
  resolve: (
    services: S,
    args: Record<string, unknown>,
    caller: Writer,
    info: GraphQLResolveInfo,
  ) => unknown;
}

/** Root fields by name. */
export type RootFields<S> = Record<string, RootField<S>>;

/** One thing that can be followed: what `subscribe` gives, each made an answer by `resolve`. */
export interface LiveField<S> extends Omit<RootField<S>, 'resolve'> {
  /** @throws AppError, also from the iteration. */
  subscribe: (
    services: S,
    args: Record<string, unknown>,
    caller: Caller,
    info: GraphQLResolveInfo,
  ) => AsyncIterableIterator<unknown> | Promise<AsyncIterableIterator<unknown>>;
  resolve?: (element: never) => unknown;
}

/** Root fields of subscriptions by name. */
export type LiveFields<S> = Record<string, LiveField<S>>;
