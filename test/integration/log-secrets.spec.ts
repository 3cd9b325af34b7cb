import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { dirname, join, resolve } from 'node:path';
import { SignJWT } from 'jose';
import { Client } from 'pg';
import WebSocket from 'ws';
import { SUBPROTOCOL } from '../support/socket-stage';
import { EVENTS } from '../support/test-service';
import { ticketFor } from '../support/tickets';
import {
  describeWithPrivateRedis,
  type PrivateRedis,
  startPrivateRedis,
} from '../support/redis-server';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { type Build, buildService } from './service.fixture';
import { until } from './until.fixture';

const ROOT = resolve(__dirname, '..', '..');
const BOOT_MS = 60_000;

/** Recognisable, and with characters that stand otherwise in a URL. */
const secretNamed = (name: string) => `sekret/${name}+${randomBytes(6).toString('hex')}`;

const SECRETS = {
  jwt: `${secretNamed('jwt')}-and-as-long-as-it-has-to-be`,
  database: secretNamed('database'),
  redis: secretNamed('redis'),
  webhook: secretNamed('webhook'),
  event: secretNamed('event'),
  idempotencyKey: secretNamed('idempotency-key'),
};
type Secret = keyof typeof SECRETS;

/** Everything a process of the service says on stdout and stderr, at its most talkative. */
class Talk {
  output = '';
  readonly exited: Promise<unknown>;

  constructor(readonly child: ChildProcess) {
    child.stdout?.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    this.exited = once(child, 'close');
  }

  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<string> {
    if (this.child.exitCode === null) this.child.kill(signal);
    await this.exited;
    return this.output;
  }
}

/** The secrets that a text holds, in any of the forms in which they travel. */
function leaksIn(output: string, ...further: string[]): string[] {
  const forms = (secret: string) => [
    secret,
    encodeURIComponent(secret),
    JSON.stringify(secret).slice(1, -1),
    Buffer.from(secret).toString('base64').slice(0, -4),
    Buffer.from(secret).toString('base64url').slice(0, -4),
    Buffer.from(secret).toString('hex'),
  ];
  return [...Object.values(SECRETS), ...further].filter((secret) =>
    forms(secret).some((form) => output.includes(form)),
  );
}

const inUrl = (secret: Secret) => encodeURIComponent(SECRETS[secret]);

async function tokenWith(secret: string): Promise<string> {
  return new SignJWT({
    scope: 'audit:read audit:write performance:read performance:manage',
    organizations: ['org-1'],
  })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject('alice')
    .setExpirationTime('1h')
    .sign(Buffer.from(secret));
}

describeWithPrivateRedis()('what the service logs holds no secret', () => {
  let build: Build;
  let test: TestDatabase;
  let redis: PrivateRedis;
  let admin: Client;
  const role = `audit_secret_${randomBytes(4).toString('hex')}`;
  const running: Talk[] = [];

  beforeAll(async () => {
    build = await buildService();
    test = await createTestDatabase();
    redis = await startPrivateRedis('--requirepass', SECRETS.redis);
    admin = new Client({ connectionString: process.env['TEST_SERVER_URL'] });
    await admin.connect();
    await admin.query(`CREATE ROLE ${role} LOGIN SUPERUSER PASSWORD '${SECRETS.database}'`);
  }, BOOT_MS);

  afterAll(async () => {
    for (const talk of running) await talk.end('SIGKILL');
    await redis?.stop();
    await test?.drop();
    await admin?.query(`DROP ROLE IF EXISTS ${role}`);
    await admin?.end();
    await build?.remove();
  });

  function databaseUrl(): string {
    const url = new URL(test.url);
    url.username = role;
    url.password = SECRETS.database;
    return url.href;
  }

  function start(environment: Record<string, string>, program = 'main.js'): Talk {
    const child = spawn(process.execPath, [join(dirname(build.main), program)], {
      cwd: ROOT,
      env: {
        PATH: process.env.PATH,
        NODE_ENV: 'test',
        HOST: '127.0.0.1',
        PORT: '0',
        LOG_LEVEL: 'trace',
        LOG_FORMAT: 'json',
        SLOW_REQUEST_THRESHOLD_MS: '1',
        SLOW_QUERY_THRESHOLD_MS: '1',
        DATABASE_URL: databaseUrl(),
        REDIS_URL: `redis://:${inUrl('redis')}@127.0.0.1:${new URL(redis.url).port}`,
        AUTH_JWT_SECRET: SECRETS.jwt,
        ALERT_WEBHOOK_URL: `http://127.0.0.1:9/${inUrl('webhook')}`,
        ...environment,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const talk = new Talk(child);
    running.push(talk);
    return talk;
  }

  async function listening(talk: Talk): Promise<string> {
    const port = () => /Listening on http:\/\/localhost:(\d+)/.exec(talk.output)?.[1];
    await until(() => port() !== undefined);
    return `http://127.0.0.1:${port()}`;
  }

  const event = (more: object = {}) => ({
    organizationId: 'org-1',
    action: SECRETS.event,
    status: 'success',
    metadata: { note: SECRETS.event },
    ...more,
  });

  /** Good and bad requests to both POST routes, with a token and without a good one; the statuses of their answers. */
  async function talkTo(url: string, token: string, keys: string[]): Promise<Set<number>> {
    const bodies = [
      JSON.stringify(event()),
      JSON.stringify(event({ principalId: SECRETS.event })),
      JSON.stringify({ events: [event()] }),
      JSON.stringify({ events: [event(), event({ status: SECRETS.event })] }),
      JSON.stringify(event({ [SECRETS.event]: 1 })),
      JSON.stringify(event({ organizationId: SECRETS.event })),
      `{"action":"${SECRETS.event}"`,
      JSON.stringify(event({ outcomeDescription: `\0${SECRETS.event}` })),
    ];
    const statuses = new Set<number>();
    const ask = async (path: string, init: RequestInit) => {
      const answer = await fetch(`${url}${path}`, init);
      await answer.text();
      statuses.add(answer.status);
    };
    for (const path of [EVENTS, `${EVENTS}/bulk`]) {
      for (const body of bodies) {
        for (const key of keys) {
          const headers = {
            'content-type': 'application/json',
            authorization: `Bearer ${token}`,
            ...(key === '' ? {} : { 'idempotency-key': key }),
          };
          await ask(path, { method: 'POST', headers, body });
        }
      }
    }
    for (const authorization of [`Bearer ${token}x`, `Basic ${token}`, `Bearer ${token}`]) {
      await ask(EVENTS, { headers: { authorization } });
      await ask(`${EVENTS}/nothing`, { headers: { authorization } });
      await ask('/health', { headers: { authorization } });
    }
    return statuses;
  }

  /** Good and bad uses of tickets, in every protocol; the tickets, and the statuses and close codes. */
  async function useTickets(url: string, token: string): Promise<[string[], Set<number>]> {
    const statuses = new Set<number>();
    const tickets: string[] = [];
    const ask = async (path: string, accept = 'text/event-stream') => {
      const ticket = await ticketFor(url, token);
      tickets.push(ticket);
      const target = `${url}${path}${path.includes('?') ? '&' : '?'}ticket=${ticket}`;
      for (const end of ['', '', `&ticket=${ticket}`, '#']) {
        const answer = await fetch(`${target}${end}`, { headers: { accept } });
        await answer.body?.cancel();
        statuses.add(answer.status);
      }
    };
    const input = encodeURIComponent('{"filter":{"actions":["none"]}}');
    await ask(`${EVENTS}/tail?actions=none`);
    await ask(`${EVENTS}/tail?no_such=filter`);
    await ask(`/trpc/performance.auditEventRecorded?input=${input}`);
    await ask('/trpc/performance.auditEventRecorded?input={');
    for (const path of [EVENTS, '/graphql?query={__typename}', '/nowhere', '/docs-json']) {
      await ask(path, '*/*');
    }
    for (const [path, payload] of [
      ['/graphql?ticket=', undefined],
      ['/graphql', 'ticket'],
      ['/nowhere?ticket=', undefined],
    ] as const) {
      const ticket = await ticketFor(url, token);
      tickets.push(ticket);
      for (let use = 0; use < 2; use += 1) {
        const target = `${url.replace('http', 'ws')}${path}${payload ? '' : ticket}`;
        const socket = new WebSocket(target, [SUBPROTOCOL]);
        socket.on('error', () => undefined);
        socket.on('open', () => {
          const own = payload ? { [payload]: ticket } : {};
          socket.send(JSON.stringify({ type: 'connection_init', payload: own }));
        });
        socket.on('message', () => socket.close(1000));
        // `once` of node:events would reject for the refusal of a handshake.
        statuses.add(await new Promise<number>((resolve) => socket.once('close', resolve)));
      }
    }
    return [tickets, statuses];
  }

  it(
    'at the most talkative level, for good and bad requests and while the database refuses',
    async () => {
      const talk = start({});
      const url = await listening(talk);
      const token = await tokenWith(SECRETS.jwt);
      const forged = await tokenWith(`${SECRETS.event} signs what nobody believes`);
      const keys = ['', SECRETS.idempotencyKey];
      const statuses = await talkTo(url, token, keys);
      expect([...statuses]).toEqual(expect.arrayContaining([200, 201, 400, 401, 403, 422]));
      expect([...(await talkTo(url, forged, ['']))]).toContain(401);
      const [tickets, uses] = await useTickets(url, token);
      expect([...uses]).toEqual(expect.arrayContaining([200, 400, 401, 404, 1000, 4401]));
      const late = await ticketFor(url, token);
      await admin.query(`ALTER ROLE ${role} NOLOGIN`);
      await admin.query(
        'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1',
        [role],
      );
      const refused = await talkTo(url, token, keys);
      expect(Math.max(...refused)).toBeGreaterThanOrEqual(500);
      expect((await fetch(`${url}${EVENTS}/tail?ticket=${late}`)).status).toBe(503);
      await redis.kill();
      await talkTo(url, token, ['']);
      await admin.query(`ALTER ROLE ${role} LOGIN`);
      await redis.restart();
      const output = await talk.end();
      expect(output.length).toBeGreaterThan(200);
      expect(leaksIn(output, token, forged, late, ...tickets)).toEqual([]);
    },
    BOOT_MS,
  );

  it(
    'when Redis or the database does not let it in',
    async () => {
      const url = new URL(databaseUrl());
      url.pathname = '/there-is-no-such-database';
      const wrongDatabase = start({ DATABASE_URL: url.href });
      const wrongMigration = start({ DATABASE_URL: url.href }, 'cli/migrate.js');
      const away = start({ DATABASE_URL: `postgres://${role}:${inUrl('database')}@127.0.0.1:9/x` });
      const wrongRedis = start({
        REDIS_URL: redis.url.replace('//', `//:${inUrl('webhook')}@`),
      });
      await until(() => /does not answer/.test(away.output));
      await listening(wrongRedis);
      await until(() => /redis/i.test(wrongRedis.output));
      await Promise.all([wrongDatabase.exited, wrongMigration.exited]);
      expect(wrongDatabase.output).toMatch(/DATABASE_URL .* was refused/);
      expect(wrongMigration.output).toMatch(/was refused/);
      for (const talk of [wrongDatabase, wrongMigration, away, wrongRedis]) {
        expect(leaksIn(await talk.end())).toEqual([]);
      }
    },
    BOOT_MS,
  );

  // Many faults in one start: each has a line of its own.
  it.each<[string, Record<string, string>]>([
    [
      'that are no such URLs, or too short',
      {
        NODE_ENV: 'production',
        DATABASE_URL: `mysql://u:${inUrl('database')}@h/x`,
        DATABASE_REPLICA_URLS: `postgres://u:${inUrl('database')}@h/x,http://u:${inUrl('database')}@h`,
        REDIS_URL: `http://:${inUrl('redis')}@h`,
        ALERT_WEBHOOK_URL: `ftp://h/${inUrl('webhook')}`,
        AUTH_JWT_SECRET: SECRETS.redis.slice(0, 20),
      },
    ],
    [
      'that do not parse',
      {
        DATABASE_URL: `postgres://u:${inUrl('database')}@:bad`,
        REDIS_URL: `redis://:${SECRETS.redis}@h:port`,
        ALERT_WEBHOOK_URL: `//${SECRETS.webhook}`,
        AUTH_JWKS_URL: `ftp://u:${inUrl('webhook')}@h/keys?token=${inUrl('webhook')}`,
        AUTH_JWT_SECRET: '',
      },
    ],
  ])(
    'when values are refused at the start %s',
    async (_what, environment) => {
      const talk = start(environment);
      await talk.exited;
      expect(talk.child.exitCode).toBe(1);
      for (const [variable, value] of Object.entries(environment)) {
        if (variable === 'NODE_ENV' || value === '') continue;
        expect(talk.output).toContain(variable);
        expect(talk.output).not.toContain(value);
      }
      expect(leaksIn(talk.output, SECRETS.redis.slice(0, 20))).toEqual([]);
    },
    BOOT_MS,
  );

  it('is a test that would find one', () => {
    expect(leaksIn(`x ${encodeURIComponent(SECRETS.redis)} y`)).toEqual([SECRETS.redis]);
    expect(leaksIn(Buffer.from(`${SECRETS.jwt}`).toString('base64'))).toEqual([SECRETS.jwt]);
    expect(leaksIn('nothing')).toEqual([]);
  });
});
