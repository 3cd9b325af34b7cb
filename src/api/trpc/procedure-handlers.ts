import { Injectable } from '@nestjs/common';
import { ROUTE_ARGS_METADATA } from '@nestjs/common/constants';
import { RouteParamtypes } from '@nestjs/common/enums/route-paramtypes.enum';
import {
  DiscoveryService,
  ExternalContextCreator,
  MetadataScanner,
  ModulesContainer,
  Reflector,
} from '@nestjs/core';
import type { ParamsFactory } from '@nestjs/core/helpers/external-context-creator';
import { ROUTE_ACCESS } from '../../auth/auth.guard';
import type { JsonResponse } from '../../http/http-server.adapter';
import { parseJsonWithPlaceholders } from '../../platform/runtime/lossless-json';
import { PROCEDURE } from '../../http/procedure.decorator';

/** Called with a request and a response as express would have them. */
export type ProcedureHandler = (request: object, response: object) => Promise<unknown>;

type Method = (...parameters: never[]) => unknown;

const PARAMETERS: ParamsFactory = {
  exchangeKeyForValue: (kind: RouteParamtypes, _name, [request, response]: object[]) => {
    const { body, query } = request as { body?: unknown; query?: unknown };
    if (kind === RouteParamtypes.REQUEST) return request;
    if (kind === RouteParamtypes.RESPONSE) return response;
    if (kind === RouteParamtypes.BODY) return body;
    if (kind === RouteParamtypes.QUERY) return query;
    throw new Error(`A procedure has no parameter of the kind ${RouteParamtypes[kind]}`);
  },
};

/** The handlers with `@Procedure`, each behind its guards, interceptors and pipes as Nest would call it for a route. */
@Injectable()
export class ProcedureHandlers {
  private readonly contexts: ExternalContextCreator;

  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
    private readonly reflector: Reflector,
    modules: ModulesContainer,
    contexts: ExternalContextCreator,
  ) {
    this.contexts = findingControllers(contexts, modules);
  }

  /** Handlers by path. @throws Error when two have the same path, or one declares no access. */
  find(): Map<string, ProcedureHandler> {
    const found = new Map<string, ProcedureHandler>();
    for (const { instance } of this.instances()) {
      const prototype = Object.getPrototypeOf(instance) as Record<string, Method>;
      for (const name of this.scanner.getAllMethodNames(prototype)) {
        const method = prototype[name];
        const path = method && this.reflector.get<string | undefined>(PROCEDURE, method);
        if (!method || path === undefined) continue;
        const targets = [method, instance.constructor as () => void];
        if (this.reflector.getAllAndOverride(ROUTE_ACCESS, targets) === undefined) {
          throw new Error(`The procedure ${path} has neither @Public() nor @Scopes().`);
        }
        if (found.has(path)) throw new Error(`Two handlers are the procedure ${path}.`);
        found.set(path, this.handlerOf(instance, name, method));
      }
    }
    return found;
  }

  private instances(): { instance: object }[] {
    const all = [...this.discovery.getControllers(), ...this.discovery.getProviders()];
    return all.filter(
      ({ instance, isAlias }) => typeof instance === 'object' && instance !== null && !isAlias,
    ) as { instance: object }[];
  }

  private handlerOf(instance: object, name: string, method: Method): ProcedureHandler {
    const call = this.contexts.create(
      instance,
      method as (...parameters: unknown[]) => unknown,
      name,
      ROUTE_ARGS_METADATA,
      PARAMETERS,
      undefined,
      undefined,
      { guards: true, interceptors: true, filters: false },
    ) as ProcedureHandler;
    return async (request, response) => {
      const result = await call(request, response);
      const { toJsonText, value } = (result ?? {}) as Partial<JsonResponse>;
      if (!toJsonText) return result;
      return value ?? parseJsonWithPlaceholders((result as JsonResponse).toJsonText());
    };
  }
}

/**
 * A context creator that finds the module of a controller too. Nest's own searches providers alone, and without the
 * module it leaves out guards and interceptors that are named by their class.
 */
function findingControllers(
  contexts: ExternalContextCreator,
  modules: ModulesContainer,
): ExternalContextCreator {
  const getContextModuleKey: ExternalContextCreator['getContextModuleKey'] = (type) => {
    const own = contexts.getContextModuleKey(type);
    if (own !== '' || !type) return own;
    const home = [...modules].find(([, { controllers }]) => controllers.has(type));
    if (!home) throw new Error(`No module has ${type.name}.`);
    return home[0];
  };
  return Object.assign(Object.create(contexts) as ExternalContextCreator, { getContextModuleKey });
}
