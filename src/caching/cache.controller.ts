import {
  Body,
  Controller,
  Delete,
  Get,
  Header,
  HttpCode,
  Inject,
  Post,
  Query,
  UseInterceptors,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { ApiTags } from '@nestjs/swagger';
import { CurrentPrincipal, type Principal, resolveOrganizations } from '../auth/principal';
import { Scopes } from '../auth/auth.guard';
import { wallClockText } from '../platform/runtime/clocks';
import { cacheConfig } from '../platform/config/settings';
import { OptionalJsonBodyInterceptor } from '../http/body-reader';
import { Operation } from '../http/operation.openapi';
import { Procedure } from '../http/procedure.decorator';
import { CacheInvalidation } from './cache-invalidation';
import { KeyPattern } from './cache-key';
import {
  type CacheInvalidationDto,
  type CacheStatisticsDto,
  DEFAULT_PRELOAD_DAYS,
  InvalidationQuery,
  REMOVE_ENTRIES,
  SHOW_STATISTICS,
  WARM_UP,
  WarmupDto,
  type WarmupResultDto,
} from './cache.openapi';
import { CacheReport } from './cache-statistics';
import { CacheWarmup } from './cache-warmup';

/** Statistics, invalidation and warm-up, for operators. */
@ApiTags('performance')
@Controller('performance/cache')
export class CacheController {
  constructor(
    private readonly report: CacheReport,
    private readonly invalidation: CacheInvalidation,
    private readonly warmup: CacheWarmup,
    @Inject(cacheConfig.KEY) private readonly config: ConfigType<typeof cacheConfig>,
  ) {}

  @Get('stats')
  @Procedure('performance.cacheOperations.getStats')
  @Scopes('performance:read')
  @Header('Cache-Control', 'no-store')
  @Operation(SHOW_STATISTICS)
  statistics(): CacheStatisticsDto {
    return this.report.statistics();
  }

  @Delete()
  @Procedure('performance.cacheOperations.invalidate')
  @Scopes('performance:manage')
  @Header('Cache-Control', 'no-store')
  @Operation(REMOVE_ENTRIES)
  async invalidate(
    @CurrentPrincipal() principal: Principal,
    @Query() { pattern }: InvalidationQuery,
  ): Promise<CacheInvalidationDto> {
    const invalidated = await this.invalidation.invalidate(
      new KeyPattern(pattern, this.config.keyPrefix),
      resolveOrganizations(principal, undefined),
    );
    return { pattern, invalidated, timestamp: wallClockText() };
  }

  @Post('warmup')
  @HttpCode(200)
  @Procedure('performance.cacheOperations.warmUp')
  @Scopes('performance:manage')
  @Header('Cache-Control', 'no-store')
  @UseInterceptors(OptionalJsonBodyInterceptor)
  @Operation(WARM_UP)
  async warmUp(
    @CurrentPrincipal() principal: Principal,
    @Body() { organizationIds, preloadDays }: WarmupDto,
  ): Promise<WarmupResultDto> {
    const tenants = resolveOrganizations(principal, organizationIds ?? undefined);
    const result = await this.warmup.run(tenants, preloadDays ?? DEFAULT_PRELOAD_DAYS);
    return { ...result, timestamp: wallClockText() };
  }
}
