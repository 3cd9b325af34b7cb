import { Module } from '@nestjs/common';
import { APP_GUARD, DiscoveryModule } from '@nestjs/core';
import { AuthGuard } from './auth.guard';
import { RouteAccessCheck } from './route-access-check';
import { TokenLife } from './token-life';
import { TokenVerifier } from './token-verifier';

/** Authentication and authorization: the token verifier and the guard before every route. */
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
