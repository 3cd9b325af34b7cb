import type { AddressInfo } from 'node:net';
import { SignJWT, type JWTPayload } from 'jose';
import { Client } from 'pg';
import { type RunningService, startService } from '../../src/app.setup';
import { loggingConfig } from '../../src/platform/config/settings';
import { HttpServer } from '../../src/http/http-server';
import { createLog } from '../../src/platform/logging/service-logger';
import { createTestDatabase } from './test-database';

/** The settings a service under test runs with, unless a spec asks for others. */
export const TEST_AUTH = {
  AUTH_JWT_SECRET: 'the end-to-end specs sign their tokens with this',
  AUTH_ISSUER: 'https://issuer.example',
  AUTH_AUDIENCE: 'audit-server',
};

export const EVENTS = '/api/v1/audit/events';

const STOP_TIMEOUT_MS = 5000;

/** What a request may carry beside method and path. */
export interface RequestOptions {
  token?: string;
  headers?: Record<string, string>;
  /** Sent as it is; anything that is neither text nor bytes is sent as JSON. */
  body?: unknown;
}

/** An answer, read to its end. */
export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  /** The text parsed; for specs that are not about exact numbers. */
  json: any; // eslint-disable-line @typescript-eslint/no-explicit-any -- specs read members of many shapes
}

/** As much of a service as is needed to ask it. */
export type Askable = Pick<TestService, 'url' | 'get' | 'request'>;

/** The service at `url`, which runs in a process of its own. */
export function askable(url: string): Askable {
  return {
    url,
    request: (method, path, options) => requestOf(url, method, path, options),
    get: (path, token, headers) => requestOf(url, 'GET', path, { token, headers }),
  };
}

/** The real application on a free port of 127.0.0.1, on a database of its own. */
export class TestService {
  private constructor(
    readonly url: string,
    readonly databaseUrl: string,
    private readonly service: RunningService,
    private readonly dropDatabase: () => Promise<void>,
  ) {}

  /** Boots it. `viaUrl` may put something between the service and its database. */
  static async start(
    environment: Record<string, string> = {},
    viaUrl: (url: string) => Promise<string> = (url) => Promise.resolve(url),
  ): Promise<TestService> {
    const database = await createTestDatabase();
    Object.assign(
      process.env,
      { NODE_ENV: 'test', ...TEST_AUTH, DATABASE_URL: await viaUrl(database.url) },
      environment,
    );
    const httpServer = new HttpServer();
    try {
      const { port }: AddressInfo = await httpServer.listen(0, '127.0.0.1');
      // Through process.stdout, where specs can look at it.
      const service = await startService(httpServer, createLog(loggingConfig(), process.stdout));
      const drop = () => database.drop();
      return new TestService(`http://127.0.0.1:${port}`, database.url, service, drop);
    } catch (error) {
      await httpServer.drain(0);
      await database.drop();
      throw error;
    }
  }

  /** Stops it and drops its database. */
  async stop(): Promise<void> {
    await this.service.stop(STOP_TIMEOUT_MS);
    await this.dropDatabase();
  }

  /** Another connection to its database, which its caller ends; one that breaks with the database fails no spec by itself. */
  async connect(): Promise<Client> {
    const client = new Client({ connectionString: this.databaseUrl });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  /** Where requests that `fetch` would refuse to make go. */
  get port(): number {
    return Number(new URL(this.url).port);
  }

  /** The HTTP server of the service. */
  get httpServer(): HttpServer {
    return this.service.server;
  }

  /** A provider of the running application, for what no answer shows. */
  provider<T>(type: new (...parameters: never[]) => T): T {
    return this.service.app.get(type, { strict: false });
  }

  request(method: string, path: string, options: RequestOptions = {}): Promise<Answer> {
    return requestOf(this.url, method, path, options);
  }

  get(path: string, token?: string, headers?: Record<string, string>): Promise<Answer> {
    return this.request('GET', path, { token, headers });
  }

  post(
    path: string,
    token: string,
    body: unknown,
    headers?: Record<string, string>,
  ): Promise<Answer> {
    return this.request('POST', path, { token, body, headers });
  }
}

/** A request to the service at `url`, answered to its end. */
export async function requestOf(
  url: string,
  method: string,
  path: string,
  options: RequestOptions = {},
): Promise<Answer> {
  const { token, body } = options;
  const headers = new Headers(options.headers);
  if (token !== undefined) headers.set('authorization', `Bearer ${token}`);
  if (body !== undefined && !headers.has('content-type')) {
    headers.set('content-type', 'application/json');
  }
  const response = await fetch(`${url}${path}`, {
    method,
    headers,
    body: isSendable(body) ? body : JSON.stringify(body),
    redirect: 'manual',
  });
  return composedResponseOf(response.status, response.headers, await response.text());
}

function isSendable(body: unknown): body is string | Uint8Array | undefined {
  return body === undefined || typeof body === 'string' || body instanceof Uint8Array;
}

function composedResponseOf(status: number, headers: Headers, text: string): Answer {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  return { status, headers, text, json };
}

/** An event as an answer holds it, as far as specs look at it by name. */
export interface EventJson {
  id: string;
  organizationId: string;
  sequence: string;
  [member: string]: unknown;
}

/** The events of an answer that is a page. */
export function eventsIn({ json }: Answer): EventJson[] {
  return json.data as EventJson[];
}

/** A good token, with claims changed or (undefined) left out. */
export async function tokenOf(
  claims: Partial<JWTPayload> & { scope?: unknown; organizations?: unknown } = {},
): Promise<string> {
  const all = { ...goodClaims(), ...claims };
  return new SignJWT(JSON.parse(JSON.stringify(all)) as JWTPayload)
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .sign(Buffer.from(TEST_AUTH.AUTH_JWT_SECRET));
}

/** Claims that every route accepts. */
export function goodClaims(): JWTPayload {
  return {
    sub: 'alice',
    iss: TEST_AUTH.AUTH_ISSUER,
    aud: TEST_AUTH.AUTH_AUDIENCE,
    // Longer than any drill takes.
    exp: Math.floor(Date.now() / 1000) + 12 * 3600,
    scope: 'audit:read audit:write',
    organizations: ['org-1'],
  };
}

/** The smallest event there is, with members changed or added. */
export function eventWith(members: Record<string, unknown> = {}): Record<string, unknown> {
  return { organizationId: 'org-1', action: 'test.run', status: 'success', ...members };
}

/** The text of a list parameter of these elements: commas inside them and backslashes before commas are escaped. */
export function listText(elements: readonly string[]): string {
  const escaped = elements.map((element, index) => {
    const text = element.replace(/\\*,/g, (part) => `${'\\'.repeat(2 * (part.length - 1))}\\,`);
    return index === elements.length - 1 ? text : text.replace(/\\+$/, (part) => part.repeat(2));
  });
  return escaped.join(',');
}
