import { concurrencyConfig } from '../platform/config/settings';
import { SubscriptionLimiter } from './subscription-limiter';

const REFUSED = expect.objectContaining({ code: 'TOO_MANY_REQUESTS', retryAfterSeconds: 10 });

describe('SubscriptionLimiter', () => {
  const make = () =>
    new SubscriptionLimiter({
      ...concurrencyConfig(),
      maxSubscriptions: 3,
      maxSubscriptionsPerPrincipal: 2,
    });

  it('limits the subscriptions of one holder, and of all', () => {
    const limiter = make();
    limiter.acquire('alice', 'sse');
    limiter.acquire('alice', 'trpc');
    expect(() => limiter.acquire('alice', 'sse')).toThrow(REFUSED);
    limiter.acquire('bob', 'websocket');
    expect(() => limiter.acquire('carol', 'sse')).toThrow(REFUSED);
    expect(limiter.activeByKind).toEqual({ sse: 1, trpc: 1, websocket: 1 });
  });

  it('gets a released slot back only once', () => {
    const limiter = make();
    const [first] = [limiter.acquire('alice', 'sse'), limiter.acquire('alice', 'sse')];
    first();
    first();
    expect([limiter.active, limiter.activeByKind.sse]).toEqual([1, 1]);
    limiter.acquire('alice', 'sse');
    expect(() => limiter.acquire('alice', 'sse')).toThrow(REFUSED);
  });
});
