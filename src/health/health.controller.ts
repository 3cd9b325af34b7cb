import {
  Controller,
  Get,
  HttpStatus,
  Inject,
  Req,
  Res,
  ServiceUnavailableException,
} from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  type HealthCheckResult,
  HealthCheckService,
  type HealthIndicatorFunction,
  type HealthIndicatorResult,
} from '@nestjs/terminus';
import type { Request, Response } from 'express';
import type { ConfigType } from '@nestjs/config';
import { Public } from '../auth/auth.guard';
import type { Scope } from '../auth/principal';
import { TokenVerifier } from '../auth/token-verifier';
import { LifecycleHealthIndicator } from '../http/lifecycle.health';
import {
  NO_STORE,
  Operation,
  problemContent,
  type ResponseDescription,
  sharedHeaders,
} from '../http/operation.openapi';
import { ProcessHealthIndicator } from '../metrics/process.health';
import { serverConfig } from '../platform/config/settings';
import { DatabaseHealthIndicator } from '../platform/database/database.health';
import { RedisHealthIndicator } from '../platform/redis/redis.module';

/** The indicators of `/health` alone: parts whose state makes nothing unready. */
export const OTHER_INDICATORS = Symbol('indicators of /health alone');

export interface Indicator {
  check(): HealthIndicatorResult | Promise<HealthIndicatorResult>;
}

/** With HEALTH_DETAILS=false a token of this scope is shown the details. */
const DETAILS_SCOPE: Scope = 'performance:read';

interface Outcome {
  status: HttpStatus;
  result: HealthCheckResult;
}

const REDIS_AWAY = {
  status: 'degraded',
  configured: true,
  message: 'Redis does not answer: answers come from PostgreSQL and this process alone',
} as const;

/** The probes of an orchestrator: 503 is a result, not an error. */
@ApiTags('health')
@Public()
@Controller('health')
export class HealthController {
  private readonly running = new Map<string, Promise<Outcome>>();

  constructor(
    private readonly health: HealthCheckService,
    private readonly lifecycle: LifecycleHealthIndicator,
    private readonly database: DatabaseHealthIndicator,
    private readonly redis: RedisHealthIndicator,
    private readonly process: ProcessHealthIndicator,
    @Inject(OTHER_INDICATORS) private readonly others: readonly Indicator[],
    private readonly verifier: TokenVerifier,
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
  ) {}

  @Get()
  @Probe({
    id: 'getHealth',
    summary: 'Everything at a glance',
    up: {
      description: 'The service works; `degraded` when something is impaired.',
      example: {
        database: { status: 'up' },
        redis: { status: 'up', configured: true },
        eventLoop: { status: 'up', p99Ms: 21 },
        cache: { status: 'up', entries: 10, sizeMB: 0.31, hitRatio: 93.75, sharedTier: 'up' },
      },
    },
    degraded: {
      database: { status: 'up' },
      redis: REDIS_AWAY,
      cache: { status: 'degraded', entries: 10, sizeMB: 0.31, hitRatio: 93.75, sharedTier: 'away' },
    },
    down: { description: 'PostgreSQL is away.', example: { database: { status: 'down' } } },
  })
  all(
    @Req() request: Request,
    @Res({ passthrough: true }) response: Response,
  ): Promise<HealthCheckResult> {
    return this.respond(request, response, 'all', [
      () => this.database.check(),
      () => this.redis.check(),
      () => this.process.memory(),
      () => this.process.disk(),
      () => this.process.eventLoop(),
      ...this.others.map((indicator) => () => indicator.check()),
    ]);
  }

  @Get('live')
  @Probe({
    id: 'getLiveness',
    summary: 'Liveness: the event loop turns',
    up: { description: 'Alive, whatever PostgreSQL or Redis do.', example: {} },
  })
  live(
    @Req() request: Request,
    @Res({ passthrough: true }) response: Response,
  ): Promise<HealthCheckResult> {
    return this.respond(request, response, 'live', []);
  }

  /** Redis is `degraded` when it is away, which makes nothing unready. */
  @Get('ready')
  @Probe({
    id: 'getReadiness',
    summary: 'Readiness: requests can be served',
    up: {
      description:
        'PostgreSQL answers, migrations are done, not shutting down; `degraded` when Redis is away.',
      example: {
        lifecycle: { status: 'up', phase: 'ready' },
        database: { status: 'up' },
        redis: { status: 'up', configured: true },
      },
    },
    degraded: {
      lifecycle: { status: 'up', phase: 'ready' },
      database: { status: 'up' },
      redis: REDIS_AWAY,
    },
    down: {
      description: 'Send no requests now.',
      example: { lifecycle: { status: 'down', phase: 'draining' }, database: { status: 'up' } },
    },
  })
  ready(
    @Req() request: Request,
    @Res({ passthrough: true }) response: Response,
  ): Promise<HealthCheckResult> {
    return this.respond(request, response, 'ready', [
      () => this.lifecycle.isReady(),
      () => this.database.check(),
      () => this.redis.check(),
    ]);
  }

  @Get('startup')
  @Probe({
    id: 'getStartup',
    summary: 'Start-up: the boot is over',
    up: { description: 'Booted.', example: { lifecycle: { status: 'up', phase: 'ready' } } },
    down: {
      description: 'Still booting.',
      example: { lifecycle: { status: 'down', phase: 'starting' } },
    },
  })
  startup(
    @Req() request: Request,
    @Res({ passthrough: true }) response: Response,
  ): Promise<HealthCheckResult> {
    return this.respond(request, response, 'startup', [() => this.lifecycle.isStarted()]);
  }

  /** Probes of one kind share a check that runs: they need no token, and may come as often as a client likes. */
  private async respond(
    request: Request,
    response: Response,
    probe: string,
    indicators: HealthIndicatorFunction[],
  ): Promise<HealthCheckResult> {
    let check = this.running.get(probe);
    if (!check) {
      check = this.check(indicators).finally(() => this.running.delete(probe));
      this.running.set(probe, check);
    }
    const { status, result } = await check;
    response.setHeader('Cache-Control', 'no-store');
    response.status(status);
    if (await this.mayShowDetails(request)) return result;
    return { status: result.status, info: {}, error: {}, details: {} };
  }

  /** A probe is open: a bad token gets the same response as none. */
  private async mayShowDetails({ headers }: Request): Promise<boolean> {
    if (this.config.healthDetails) return true;
    if (headers.authorization === undefined) return false;
    try {
      const { scopes } = await this.verifier.verify(headers.authorization);
      return scopes.has(DETAILS_SCOPE);
    } catch {
      return false;
    }
  }

  /** Terminus throws when an indicator is down; a probe has the same body with 503. */
  private async check(indicators: HealthIndicatorFunction[]): Promise<Outcome> {
    try {
      return { status: HttpStatus.OK, result: await this.health.check(indicators) };
    } catch (error) {
      if (!(error instanceof ServiceUnavailableException)) throw error;
      const result = error.getResponse() as HealthCheckResult;
      return { status: HttpStatus.SERVICE_UNAVAILABLE, result };
    }
  }
}

type Indicators = Record<string, { status: 'up' | 'degraded' | 'down'; [key: string]: unknown }>;

interface ProbeDocumentation {
  id: string;
  summary: string;
  /** When it answers 200, and an example of what it then finds. */
  up: { description: string; example: Indicators };
  /** Example of a 200 with something impaired; absent for a probe without that state. */
  degraded?: Indicators;
  /** When it answers 503. Absent for a probe that never does. */
  down?: { description: string; example: Indicators };
}

/** Documents a probe: no token, two possible responses of the same shape. */
function Probe({ id, summary, up, degraded, down }: ProbeDocumentation): MethodDecorator {
  const responses: Record<number, ResponseDescription> = {
    200: {
      description: up.description,
      headers: NO_STORE,
      content: jsonContent({
        ok: { value: bodyOf('ok', up.example) },
        ...(degraded ? { degraded: { value: bodyOf('degraded', degraded) } } : {}),
      }),
    },
  };
  if (down) {
    responses[503] = {
      description: `${down.description} A problem document until the boot is over.`,
      headers: sharedHeaders('Cache-Control', 'Retry-After'),
      content: {
        ...jsonContent({ error: { value: bodyOf('error', down.example) } }),
        ...problemContent(['NOT_READY']),
      },
    };
  }
  return Operation({
    id,
    summary,
    description:
      'No token needed. With HEALTH_DETAILS=false, as in production, the indicators are shown to tokens of the scope `performance:read` alone.',
    isPublic: true,
    responses,
  });
}

function jsonContent(examples: Record<string, { value: object }>) {
  const indicators = (description: string) => ({
    type: 'object',
    additionalProperties: true,
    description,
  });
  const status = {
    type: 'string',
    enum: ['ok', 'degraded', 'error', 'shutting_down'],
    description: '`degraded` when something is impaired that requests do not depend on.',
  };
  const schema = {
    type: 'object',
    required: ['status', 'info', 'error', 'details'],
    properties: {
      status,
      info: indicators('What is well, by the name of its indicator.'),
      error: indicators('What is not.'),
      details: indicators('Both.'),
    },
  };
  return { 'application/json': { schema, examples } };
}

function bodyOf(status: 'ok' | 'degraded' | 'error', details: Indicators): object {
  const whichAre = (isDown: boolean) =>
    Object.fromEntries(
      Object.entries(details).filter(([, one]) => (one.status === 'down') === isDown),
    );
  return { status, info: whichAre(false), error: whichAre(true), details };
}
