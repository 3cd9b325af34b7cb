import { Module } from '@nestjs/common';
import { APP_GUARD, DiscoveryModule } from '@nestjs/core';
import { TerminusModule } from '@nestjs/terminus';
import { AuthFailures } from './auth-failures';
import { AuthGuard, RouteAccessCheck } from './auth.guard';
import { KeySetHealthIndicator } from './key-set.health';
import { TokenLife } from './token-life';
import { TokenVerifier } from './token-verifier';

/** Token verifier and the guard of every route. */
@Module({
  imports: [DiscoveryModule, TerminusModule],
  providers: [
    AuthFailures,
    TokenVerifier,
    TokenLife,
    RouteAccessCheck,
    KeySetHealthIndicator,
    { provide: APP_GUARD, useClass: AuthGuard },
  ],
  exports: [AuthFailures, TokenVerifier, TokenLife, KeySetHealthIndicator],
})
export class AuthModule {}
