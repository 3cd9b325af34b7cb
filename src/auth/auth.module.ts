import { Module } from '@nestjs/common';
import { APP_GUARD, DiscoveryModule } from '@nestjs/core';
import { TerminusModule } from '@nestjs/terminus';
import { AuthFailures } from './auth-failures';
import { AuthGuard, RouteAccessCheck } from './auth.guard';
import { KeySetHealthIndicator } from './key-set.health';
import { TicketVerifier } from './ticket-access';
import { TokenLife } from './token-life';
import { TokenVerifier } from './token-verifier';

/** Verifiers of tokens and tickets, and the guard of every route. */
@Module({
  imports: [DiscoveryModule, TerminusModule],
  providers: [
    AuthFailures,
    TokenVerifier,
    TokenLife,
    TicketVerifier,
    RouteAccessCheck,
    KeySetHealthIndicator,
    { provide: APP_GUARD, useClass: AuthGuard },
  ],
  exports: [AuthFailures, TokenVerifier, TokenLife, TicketVerifier, KeySetHealthIndicator],
})
export class AuthModule {}
