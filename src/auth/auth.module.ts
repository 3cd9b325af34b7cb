import { Module } from '@nestjs/common';
import { APP_GUARD, DiscoveryModule } from '@nestjs/core';
import { AuthGuard, RouteAccessCheck } from './auth.guard';
import { TokenLife } from './token-life';
import { TokenVerifier } from './token-verifier';

/** Token verifier and the guard of every route. */
@Module({
  imports: [DiscoveryModule],
  providers: [
    TokenVerifier,
    TokenLife,
    RouteAccessCheck,
    { provide: APP_GUARD, useClass: AuthGuard },
  ],
  exports: [TokenVerifier, TokenLife],
})
export class AuthModule {}
