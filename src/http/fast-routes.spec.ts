import { Controller, Get, Logger } from '@nestjs/common';
import { SCOPES } from '../auth/principal';
import { Scopes } from '../auth/auth.guard';
import type { TokenVerifier } from '../auth/token-verifier';
import { type FastHandler, FastRoutes } from './fast-routes';
import { HttpServer } from './http-server';

@Controller('things')
class ThingsController {
  @Get()
  @Scopes(...SCOPES)
  find(): void {
    throw new Error('served by the fast route');
  }
}

const fault = (): never => {
  throw new Error('a fault of ours');
};
const verifier = {
  verify: () => ({ subject: 's', organizations: '*', scopes: new Set(SCOPES) }),
} as unknown as TokenVerifier;

describe.each([
  ['without a guard', undefined],
  ['after a guard', () => Promise.resolve()],
])('FastRoutes %s', (_, guard) => {
  const httpServer = new HttpServer();
  let fast: FastHandler;
  let url = '';
  const logged = jest.spyOn(Logger.prototype, 'error');

  beforeAll(async () => {
    const { port } = await httpServer.listen(0, '127.0.0.1');
    url = `http://127.0.0.1:${port}/api/v1/things`;
    const routes = new FastRoutes(verifier);
    if (guard) routes.guardWith(guard);
    routes.registerHandler(ThingsController, 'find', (...call) => fast(...call));
    httpServer.attach(fault, routes);
  });

  beforeEach(() => logged.mockReset());

  afterAll(() => httpServer.drain(0));

  it.each<[string, FastHandler]>([
    ['a handler', fault],
    ['the ordinary path', (_request, _response, fallThrough) => fallThrough()],
    [
      'the ordinary path later',
      (_request, _response, fallThrough) => void setImmediate(fallThrough),
    ],
  ])('responds with 500 to a fault of %s, and logs it', async (_name, handler) => {
    fast = handler;
    const response = await fetch(url);
    expect(response.status).toBe(500);
    expect(response.headers.get('x-request-id')).not.toBeNull();
    const body = await response.text();
    expect(JSON.parse(body)).toMatchObject({ code: 'INTERNAL', status: 500 });
    expect(body).not.toContain('a fault of ours');
    expect(logged).toHaveBeenCalledTimes(1);
    expect(logged.mock.calls[0]?.[0]).toContain('a fault of ours');
  });
});
