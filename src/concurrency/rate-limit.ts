import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { cacheConfig, rateLimitConfig } from '../platform/config/settings';
import { AppError } from '../platform/errors/app-error';
import { FastRoutes } from '../http/fast-routes';
import type { FlowOwner } from './flow';
import { type Counted, RateLimitStorage } from './rate-limit.storage';

/** Marks a counted request: falling through a fast route does not count it again. */
const COUNTED = Symbol('counted');
type Countable = IncomingMessage & { principal?: FlowOwner; [COUNTED]?: boolean };

/**
 * RATE_LIMIT_REQUESTS of each principal in each window, on every route with a token. State in headers of
 * draft-ietf-httpapi-ratelimit-headers-10.
 */
@Injectable()
export class RateLimit implements OnModuleInit {
  constructor(
    private readonly storage: RateLimitStorage,
    private readonly routes: FastRoutes,
    @Inject(rateLimitConfig.KEY) private readonly config: ConfigType<typeof rateLimitConfig>,
    @Inject(cacheConfig.KEY) private readonly cache: ConfigType<typeof cacheConfig>,
  ) {}

  onModuleInit(): void {
    if (this.config.isEnabled) {
      this.routes.guardWith((request, response) => this.count(request, response));
    }
  }

  /** Counts a request and sets its response's headers. @throws AppError RATE_LIMITED once the window is used up. */
  async count(request: Countable, response: ServerResponse): Promise<void> {
    const { principal } = request;
    if (!this.config.isEnabled || !principal || request[COUNTED]) return;
    request[COUNTED] = true;
    const { requests, windowSeconds } = this.config;
    const counted = await this.hit(principal);
    const remaining = Math.max(0, requests - counted.totalHits);
    response.setHeader('RateLimit-Policy', `"default";q=${requests};w=${windowSeconds}`);
    response.setHeader('RateLimit', `"default";r=${remaining};t=${counted.timeToExpire}`);
    this.refuseBlocked(counted);
  }

  /** Counts an operation on a socket. @throws AppError RATE_LIMITED */
  async admit(principal: FlowOwner): Promise<void> {
    if (this.config.isEnabled) this.refuseBlocked(await this.hit(principal));
  }

  private hit({ subject }: FlowOwner): Promise<Counted> {
    const { requests, windowSeconds } = this.config;
    // The prefix separates services that share a Redis; `-` separates these keys from the cache's.
    const key = `${this.cache.keyPrefix}-rate-limit:${subject}`;
    return this.storage.increment(key, windowSeconds * 1000, requests);
  }

  private refuseBlocked(counted: Counted): void {
    if (!counted.isBlocked) return;
    const { requests, windowSeconds } = this.config;
    throw new AppError(
      'RATE_LIMITED',
      `No more than ${requests} requests in ${windowSeconds} seconds: try again in ${counted.timeToExpire} s.`,
      { retryAfterSeconds: counted.timeToExpire },
    );
  }
}
