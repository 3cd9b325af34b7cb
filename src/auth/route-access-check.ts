import { Injectable, type OnModuleInit } from '@nestjs/common';
import { PATH_METADATA } from '@nestjs/common/constants';
import { DiscoveryService, MetadataScanner, Reflector } from '@nestjs/core';
import { ROUTE_ACCESS } from './route-access';

/** Stops the boot when a route declares no access, before the guard refuses a request. */
@Injectable()
export class RouteAccessCheck implements OnModuleInit {
  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
    private readonly reflector: Reflector,
  ) {}

  onModuleInit(): void {
    const undeclared = this.discovery
      .getControllers()
      .flatMap(({ metatype }) =>
        typeof metatype === 'function' ? this.undeclaredOf(metatype) : [],
      );
    if (undeclared.length > 0) {
      throw new Error(`Neither @Public() nor @Scopes() on: ${undeclared.join(', ')}.`);
    }
  }

  private undeclaredOf(controller: { name: string; prototype?: unknown }): string[] {
    const prototype = controller.prototype as Record<string, () => unknown>;
    return this.scanner
      .getAllMethodNames(prototype)
      .filter((name) => {
        const handler = prototype[name];
        return (
          handler !== undefined &&
          Reflect.hasMetadata(PATH_METADATA, handler) &&
          this.reflector.getAllAndOverride(ROUTE_ACCESS, [handler, controller as () => void]) ===
            undefined
        );
      })
      .map((name) => `${controller.name}.${name}`);
  }
}
