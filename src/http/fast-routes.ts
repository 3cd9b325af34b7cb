import { Injectable, RequestMethod, type Type } from '@nestjs/common';
import { METHOD_METADATA, PATH_METADATA } from '@nestjs/common/constants';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AuthenticatedRequest } from '../auth/authenticated-request';
import { knownPrincipal } from '../auth/known-principal';
import { ROUTE_ACCESS, type RouteAccess } from '../auth/route-access';
import { TokenVerifier } from '../auth/token-verifier';
import { writeFastProblem } from './fast-problem';
import { nameRoute } from './request-context';

/** What the paths of all routes but the probes begin with. */
export const API_PREFIX = 'api/v1';

/** A request with the principal whose token it brought. */
export type FastRequest = IncomingMessage & AuthenticatedRequest;

/**
 * Answers a request before express sees it, or calls `handOn` for the ordinary path to do it. It may do so at any
 * time before it has written anything; a body that it has read stays on the request (`RAW_BODY`).
 */
export type FastHandler = (
  request: FastRequest,
  response: ServerResponse,
  handOn: () => void,
) => void;

/** Lets a request of a hot route in, or rejects with the AppError that refuses it. */
export type GuardResult = (request: FastRequest, response: ServerResponse) => Promise<void>;

/** A method of a controller. */
type Handler = (...parameters: never[]) => unknown;

/**
 * The few routes that carry the load and may be answered in front of express, which costs several times what the
 * work itself does. A hot route only knows the plain case; whatever is unusual or wrong it hands
 * on, so that there is one implementation of everything else.
 */
@Injectable()
export class FastRoutes {
  /** By method and path; by method and path up to the last segment, for routes that end in a parameter. */
  private readonly exact = new Map<string, FastHandler>();
  private readonly parametric = new Map<string, FastHandler>();

  private admission: GuardResult | undefined;

  constructor(private readonly verifier: TokenVerifier) {}

  /** From now on every request of a hot route needs to be let in, as a guard does on the ordinary path. */
  guardWith(admission: GuardResult): void {
    this.admission = admission;
  }

  /**
   * Makes the handler `name` of a controller a hot route under each of its paths, `hot` answering in its stead. Like the handler
   * it is only called for requests whose token has the scopes that the handler declares; the principal is then on
   * the request. A path may end in one parameter.
   */
  registerHandler(controller: Type, name: string, hot: FastHandler): void {
    const handler = (controller.prototype as Record<string, Handler | undefined>)[name];
    if (!handler) throw new Error(`${controller.name} has no ${name}`);
    const access = (Reflect.getMetadata(ROUTE_ACCESS, handler) ??
      Reflect.getMetadata(ROUTE_ACCESS, controller)) as RouteAccess | undefined;
    if (access === undefined || access === 'public') {
      throw new Error(`${controller.name}.${name}: a hot route needs @Scopes().`);
    }
    const method = RequestMethod[Reflect.getMetadata(METHOD_METADATA, handler) as RequestMethod];
    for (const path of pathsOf(controller, handler)) {
      const guarded: FastHandler = (request, response, handOn) => {
        const principal = knownPrincipal(this.verifier, request, access);
        if (!principal) return handOn();
        request.principal = principal;
        nameRoute(request, path);
        if (!this.admission) return hot(request, response, handOn);
        this.admission(request, response).then(
          () => hot(request, response, handOn),
          (error: unknown) => writeFastProblem(error, request, response),
        );
      };
      const parameter = path.indexOf('/:');
      if (parameter === -1) this.exact.set(`${method} ${path}`, guarded);
      else this.parametric.set(`${method} ${path.slice(0, parameter)}`, guarded);
    }
  }

  /** The handler of a request, if it is to a hot route. */
  find({ method, url = '' }: IncomingMessage): FastHandler | undefined {
    const mark = url.indexOf('?');
    const path = mark === -1 ? url : url.slice(0, mark);
    return (
      this.exact.get(`${method} ${path}`) ??
      this.parametric.get(`${method} ${path.slice(0, path.lastIndexOf('/'))}`)
    );
  }
}

/** Every path of a handler, as it stands in a request. */
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
