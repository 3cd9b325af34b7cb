import { Injectable, RequestMethod, type Type } from '@nestjs/common';
import { METHOD_METADATA, PATH_METADATA } from '@nestjs/common/constants';
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type AuthenticatedRequest,
  type Principal,
  requireScopes,
  type Scope,
} from '../auth/principal';
import { ROUTE_ACCESS, type RouteAccess } from '../auth/auth.guard';
import { TokenVerifier } from '../auth/token-verifier';
import { beginProblem } from '../platform/errors/problem';
import { nameRoute, requestIdOf, writeStamped } from './request-context';

/** Path prefix of all routes but the probes. */
export const API_PREFIX = 'api/v1';

export type FastRequest = IncomingMessage & AuthenticatedRequest;

/**
 * Handler that responds before express, or calls `fallThrough` without having written. A body that it has read stays on
 * the request (`RAW_BODY`).
 */
export type FastHandler = (
  request: FastRequest,
  response: ServerResponse,
  fallThrough: () => void,
) => void;

/** Guard of all fast routes; rejects with the AppError of a refused request. */
export type FastGuard = (request: FastRequest, response: ServerResponse) => Promise<void>;

type Handler = (...parameters: never[]) => unknown;

/**
 * Routes of the main load, without express, which costs several times the work itself. A fast route handles only the plain
 * case; all others fall through to express, so that they are implemented once. The routes register themselves:
 * audit/api/create-event.fast-route.ts for single writes, caching/cached-routes.ts for every `@Cached` handler.
 */
@Injectable()
export class FastRoutes {
  /** Handlers by method and path. The keys of `parametric` lack the last segment, a parameter. */
  private readonly exact = new Map<string, FastHandler>();
  private readonly parametric = new Map<string, FastHandler>();

  private guard: FastGuard | undefined;

  constructor(private readonly verifier: TokenVerifier) {}

  /** Sets the guard before all fast routes: RateLimit (concurrency/rate-limit.ts) if it is enabled. */
  guardWith(guard: FastGuard): void {
    this.guard = guard;
  }

  /**
   * Serves the paths of a handler by `fast`, for verified tokens with the handler's scopes; the principal is on the
   * request. A path may end in one parameter.
   */
  registerHandler(controller: Type, name: string, fast: FastHandler): void {
    const handler = (controller.prototype as Record<string, Handler | undefined>)[name];
    if (!handler) throw new Error(`${controller.name} has no ${name}`);
    const access = (Reflect.getMetadata(ROUTE_ACCESS, handler) ??
      Reflect.getMetadata(ROUTE_ACCESS, controller)) as RouteAccess | undefined;
    if (access === undefined || access === 'public') {
      throw new Error(`${controller.name}.${name}: a fast route needs @Scopes().`);
    }
    const method = RequestMethod[Reflect.getMetadata(METHOD_METADATA, handler) as RequestMethod];
    for (const path of pathsOf(controller, handler)) {
      const guarded: FastHandler = (request, response, fallThrough) => {
        const principal = this.knownPrincipal(request, access);
        if (!principal) return fallThrough();
        request.principal = principal;
        nameRoute(request, path);
        if (!this.guard) return fast(request, response, fallThrough);
        this.guard(request, response)
          .then(() => fast(request, response, fallThrough))
          .catch((error: unknown) => writeFastProblem(error, request, response));
      };
      const parameter = path.indexOf('/:');
      if (parameter === -1) this.exact.set(`${method} ${path}`, guarded);
      else this.parametric.set(`${method} ${path.slice(0, parameter)}`, guarded);
    }
  }

  find({ method, url = '' }: IncomingMessage): FastHandler | undefined {
    const queryAt = url.indexOf('?');
    const path = queryAt === -1 ? url : url.slice(0, queryAt);
    return (
      this.exact.get(`${method} ${path}`) ??
      this.parametric.get(`${method} ${path.slice(0, path.lastIndexOf('/'))}`)
    );
  }

  /** Returns the principal of a verified token; undefined for other tokens, whose requests fall through. */
  private knownPrincipal(request: FastRequest, scopes: readonly Scope[]): Principal | undefined {
    try {
      const principal = this.verifier.verify(request.headers.authorization);
      if (principal instanceof Promise) {
        principal.catch(() => undefined); // the ordinary path verifies the token again
        return undefined;
      }
      requireScopes(principal, scopes);
      return principal;
    } catch {
      return undefined;
    }
  }
}

function pathsOf(controller: Type, handler: Handler): string[] {
  const own = Reflect.getMetadata(PATH_METADATA, handler) as string | string[];
  const bases = Reflect.getMetadata(PATH_METADATA, controller) as string | string[];
  return [bases].flat().flatMap((base) =>
    [own].flat().map((path) => {
      const segments = [API_PREFIX, base, path].flatMap((part) => part.split('/'));
      return `/${segments.filter((segment) => segment !== '').join('/')}`;
    }),
  );
}

/**
 * Does in one write what `writeProblem` does: most responses of an overloaded service are refusals, whose cost the other
 * requests pay.
 */
export function writeFastProblem(
  thrown: unknown,
  request: IncomingMessage,
  response: ServerResponse,
  moreHeaders: readonly string[] = [],
): void {
  const problem = beginProblem(thrown, request, response, requestIdOf(request));
  if (!problem) return;
  const { status, headers, body } = problem;
  writeStamped(request, response, status, [...headers, ...moreHeaders], [body]);
}
