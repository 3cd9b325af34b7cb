import { Module } from '@nestjs/common';
import { IdempotencyKeys } from './idempotency-keys';

/** What keeps concurrent and repeated requests from harming each other. */
@Module({ providers: [IdempotencyKeys], exports: [IdempotencyKeys] })
export class ConcurrencyModule {}
