import {
  Catch,
  Controller,
  Get,
  Global,
  Module,
  type ArgumentsHost,
  type ExceptionFilter,
  type INestApplication,
  type Type,
} from '@nestjs/common';
import { Test } from '@nestjs/testing';
import type { Response } from 'express';
import request from 'supertest';
import { authConfig, type AuthConfig } from '../platform/config/settings';
import { AppError } from '../platform/errors/app-error';
import { AuthModule } from './auth.module';
import { CurrentPrincipal, type Principal, type Scope } from './principal';
import { signDevelopmentToken } from './development-token';
import { Public, RouteAccessCheck, Scopes } from './auth.guard';

const config: AuthConfig = {
  keys: { kind: 'secret', secret: 'a secret of the tests that is long enough' },
  algorithms: ['HS256'],
};

@Global()
@Module({
  providers: [{ provide: authConfig.KEY, useValue: config }],
  exports: [authConfig.KEY],
})
class ConfigModule {}

@Catch(AppError)
class AppErrorFilter implements ExceptionFilter<AppError> {
  catch({ code, status, headers, cause }: AppError, host: ArgumentsHost): void {
    const reason = cause instanceof Error ? cause.message : undefined;
    host.switchToHttp().getResponse<Response>().status(status).set(headers).json({ code, reason });
  }
}

@Controller('things')
@Scopes('audit:read')
class ThingsController {
  @Get()
  list(@CurrentPrincipal() principal: Principal) {
    return { subject: principal.subject, organizations: principal.organizations };
  }

  @Get('export')
  @Scopes('audit:read', 'audit:export')
  export() {
    return {};
  }

  @Get('open')
  @Public()
  open() {
    return { open: true };
  }

  @Get('lost')
  @Public()
  lost(@CurrentPrincipal() principal: Principal) {
    return principal.subject;
  }
}

@Controller('forgotten')
class ForgottenController {
  @Get()
  read() {
    return {};
  }

  helper() {
    return {};
  }
}

async function start(controller: Type, check = true): Promise<INestApplication> {
  const builder = Test.createTestingModule({
    imports: [ConfigModule, AuthModule],
    controllers: [controller],
  });
  if (!check) builder.overrideProvider(RouteAccessCheck).useValue({});
  const app = (await builder.compile()).createNestApplication({ logger: false });
  app.useGlobalFilters(new AppErrorFilter());
  await app.listen(0, '127.0.0.1');
  return app;
}

async function tokenWith(...scopes: Scope[]): Promise<string> {
  return signDevelopmentToken(config, {
    subject: 'alice',
    organizations: ['org-1'],
    scopes,
    expiresInSeconds: 60,
  });
}

describe('AuthGuard', () => {
  let app: INestApplication;
  const get = (path: string) => request(app.getHttpServer()).get(path);

  beforeAll(async () => {
    app = await start(ThingsController);
  });

  afterAll(() => app.close());

  it('lets anybody into a public route, even with a bad token', async () => {
    await get('/things/open').expect(200, { open: true });
    await get('/things/open').set('Authorization', 'Bearer bad').expect(200, { open: true });
  });

  it('asks for a token, in the words of RFC 6750', async () => {
    const missing = await get('/things').expect(401);
    expect(missing.headers['www-authenticate']).toBe('Bearer realm="audit-server"');
    const bad = await get('/things').set('Authorization', 'Bearer bad').expect(401);
    expect(bad.headers['www-authenticate']).toBe(
      'Bearer realm="audit-server", error="invalid_token", error_description="The token is malformed."',
    );
  });

  it('hands the principal to the handler, for a new and for a known token', async () => {
    const token = await tokenWith('audit:read');
    for (let attempt = 0; attempt < 2; attempt += 1) {
      await get('/things')
        .auth(token, { type: 'bearer' })
        .expect(200, { subject: 'alice', organizations: ['org-1'] });
    }
  });

  it('wants every scope of the handler, which goes before its class', async () => {
    const reader = await tokenWith('audit:read');
    const answer = await get('/things/export').auth(reader, { type: 'bearer' }).expect(403);
    expect(answer.body).toMatchObject({ code: 'FORBIDDEN' });
    expect(answer.headers['www-authenticate']).toBe(
      'Bearer realm="audit-server", error="insufficient_scope", scope="audit:read audit:export"',
    );
    await get('/things')
      .auth(await tokenWith('audit:export'), { type: 'bearer' })
      .expect(403);
    await get('/things/export')
      .auth(await tokenWith('audit:export', 'audit:read'), { type: 'bearer' })
      .expect(200);
  });

  it('fails a public handler that wants a principal', async () => {
    const token = await tokenWith('audit:read');
    const answer = await get('/things/lost').auth(token, { type: 'bearer' }).expect(500);
    expect(answer.body).toMatchObject({ code: 'INTERNAL' });
  });
});

describe('a route that does not say who may call it', () => {
  it('stops the boot', async () => {
    await expect(start(ForgottenController)).rejects.toThrow(
      'Neither @Public() nor @Scopes() on: ForgottenController.read.',
    );
  });

  it('is closed to everybody, should it ever be served', async () => {
    const app = await start(ForgottenController, false);
    try {
      const answer = await request(app.getHttpServer())
        .get('/forgotten')
        .auth(await tokenWith('audit:read'), { type: 'bearer' })
        .expect(500);
      expect(answer.body).toEqual({
        code: 'INTERNAL',
        reason: 'ForgottenController.read has neither @Public() nor @Scopes().',
      });
    } finally {
      await app.close();
    }
  });

  it('may not say it twice in one place', () => {
    expect(() => {
      class Twice {
        @Public()
        @Scopes('audit:read')
        read() {
          return {};
        }
      }
      return Twice;
    }).toThrow('read says twice who may call it.');
  });
});
