import { Injectable, type OnApplicationBootstrap, type Type } from '@nestjs/common';
import { DiscoveryService, MetadataScanner, ModuleRef } from '@nestjs/core';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { writeFastProblem } from '../http/fast-problem';
import { FastRoutes } from '../http/fast-routes';
import { plainlyAcceptsJson } from '../http/negotiation';
import { writeStamped } from '../http/request-context';
import { HttpCache } from './http-cache';
import { CACHED } from './cached-metadata';
import { AppError } from '../platform/errors/app-error';
import type { CachedRead, ReadDescription } from './cached-read';

/** As the compression of the ordinary path says. */
const VARY = ['Vary', 'Accept-Encoding'];

/**
 * Makes every @Cached handler a fast route, answered before express by the same code as in the interceptor. Requests that
 * are wrong or unusual fall through to the ordinary path.
 */
@Injectable()
export class CachedRoutes implements OnApplicationBootstrap {
  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
    private readonly modules: ModuleRef,
    private readonly routes: FastRoutes,
    private readonly http: HttpCache,
  ) {}

  onApplicationBootstrap(): void {
    for (const { metatype } of this.discovery.getControllers()) {
      if (typeof metatype !== 'function') continue;
      const prototype = metatype.prototype as Record<string, () => unknown>;
      for (const name of this.scanner.getAllMethodNames(prototype)) {
        const handler = prototype[name];
        const type = handler && readOf(handler);
        if (!handler || !type) continue;
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
      // Refused once more on the ordinary path, which renders errors. Anything else is a fault of ours.
      if (error instanceof AppError || error instanceof URIError) return fallThrough();
      throw error;
    }
    this.http
      .answer(read, description, request, response)
      .then(({ statusCode, headers, parts }) =>
        writeStamped(request, response, statusCode, headers, parts),
      )
      .catch((error: unknown) => writeFastProblem(error, request, response, VARY));
  }
}

/** What a handler is decorated with. */
function readOf(handler: object): Type<CachedRead> | undefined {
  return Reflect.getMetadata(CACHED, handler) as Type<CachedRead> | undefined;
}
