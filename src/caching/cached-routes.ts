import { Injectable, type OnApplicationBootstrap, type Type } from '@nestjs/common';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { DiscoveryService, MetadataScanner, ModuleRef, Reflector } from '@nestjs/core';
import { FastRoutes, writeFastProblem } from '../http/fast-routes';
import { plainlyAcceptsJson } from '../http/negotiation';
import { writeStamped } from '../http/request-context';
import { AppError } from '../platform/errors/app-error';
import type { CachedRead, ReadDescription } from './cached-read';
import { CACHED, HttpCache } from './http-cache';

/**
 * Registers a fast route for every @Cached handler. Invalid and unusual requests fall through to the ordinary path.
 */
@Injectable()
export class CachedRoutes implements OnApplicationBootstrap {
  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
    private readonly reflector: Reflector,
    private readonly modules: ModuleRef,
    private readonly routes: FastRoutes,
    private readonly cache: HttpCache,
  ) {}

  onApplicationBootstrap(): void {
    for (const { metatype } of this.discovery.getControllers()) {
      if (typeof metatype !== 'function') continue;
      const prototype = metatype.prototype as Record<string, () => unknown>;
      for (const name of this.scanner.getAllMethodNames(prototype)) {
        const handler = prototype[name];
        const type = handler && this.reflector.get<Type<CachedRead> | undefined>(CACHED, handler);
        if (!type) continue;
        const read = this.modules.get(type, { strict: false });
        this.routes.registerHandler(metatype as Type, name, (request, response, fallThrough) =>
          this.handle(read, request, response, fallThrough),
        );
      }
    }
  }

  private handle(
    read: CachedRead,
    request: IncomingMessage,
    response: ServerResponse,
    fallThrough: () => void,
  ): void {
    if (!plainlyAcceptsJson(request.headers.accept)) return fallThrough();
    let description: ReadDescription;
    try {
      description = read.parse(request);
    } catch (error) {
      // The ordinary path fails in the same way, and renders the error. Other errors are defects.
      if (error instanceof AppError || error instanceof URIError) return fallThrough();
      throw error;
    }
    this.cache
      .prepare(read, description, request, response)
      .then(({ statusCode, headers, parts }) =>
        writeStamped(request, response, statusCode, headers, parts),
      )
      .catch((error: unknown) =>
        // The compression of the ordinary path sets this Vary.
        writeFastProblem(error, request, response, ['Vary', 'Accept-Encoding']),
      );
  }
}
