import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { RateLimit } from './rate-limit';

/** Ordinary path, after the guard that finds the principal; fast routes apply the limit by themselves. */
@Injectable()
export class RateLimitGuard implements CanActivate {
  constructor(private readonly limit: RateLimit) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    if (context.getType() !== 'http') return true;
    const http = context.switchToHttp();
    await this.limit.count(http.getRequest(), http.getResponse());
    return true;
  }
}
