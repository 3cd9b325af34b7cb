import type { GraphQLFieldConfigArgumentMap, GraphQLOutputType, GraphQLResolveInfo } from 'graphql';
import type { Principal, Scope } from '../auth/principal';

/** Who calls, and until when somebody waits for the answer. */
export interface Caller {
  principal: Principal;
  signal: AbortSignal;
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
    caller: Caller,
    info: GraphQLResolveInfo,
  ) => unknown;
}

/** Root fields by name. */
export type RootFields<S> = Record<string, RootField<S>>;
