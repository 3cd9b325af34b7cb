import { Body, Controller, HttpCode, Post, Res, UseInterceptors } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { hostname } from 'node:os';
import { Scopes } from '../auth/auth.guard';
import { JsonBodyInterceptor } from '../http/body-reader';
import { JSON_TYPE } from '../http/http-server.adapter';
import { Operation } from '../http/operation.openapi';
import { measureToFirstByte } from '../http/request-times';
import { whileConnected } from '../http/server-sent-events';
import { wallClockText } from '../platform/runtime/clocks';
import { DEFAULT_SECONDS, Profiler, type ProfileType } from './profiler';
import { ProfileDto, TAKE_PROFILE } from './profiles.openapi';

/**
 * Takes profiles on demand. tRPC and GraphQL have no such operation, as their results are values and a profile is a file.
 * The profile is the response to the request that starts it, as a later request may reach another replica. The request
 * takes no permit, as it only waits.
 */
@ApiTags('performance')
@Controller('performance/profiles')
export class ProfilesController {
  constructor(private readonly profiler: Profiler) {}

  @Post()
  @HttpCode(200)
  @Scopes('performance:manage')
  @UseInterceptors(JsonBodyInterceptor)
  @Operation(TAKE_PROFILE)
  async take(@Body() { type, seconds }: ProfileDto, @Res() response: Response): Promise<void> {
    const closed = whileConnected(response);
    const { text } = await this.profiler.begin(type, seconds ?? DEFAULT_SECONDS, closed);
    measureToFirstByte(response); // the client has chosen the time after it
    response.writeHead(200, {
      'Content-Type': JSON_TYPE,
      'Content-Disposition': `attachment; filename="${fileName(type, wallClockText())}"`,
      'Cache-Control': 'no-store',
    });
    response.flushHeaders();
    try {
      response.end(await text);
    } catch (error) {
      response.destroy(); // the client must not take a part for the whole profile
      throw error;
    }
  }
}

function fileName(type: ProfileType, startedAt: string): string {
  const time = startedAt.replace(/[-:]|\.\d+/g, '');
  const host = hostname().replace(/[^\w.-]/g, '');
  const ending = type === 'cpu' ? 'cpuprofile' : 'heapprofile';
  return `audit-server_${type}_${time}_${host}_${process.pid}.${ending}`;
}
