import { generateKeyPair, SignJWT } from 'jose';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Build, buildService } from '../integration/service.fixture';
import { until } from '../integration/until.fixture';
import { startPrivateRedis } from '../support/redis-server';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { BareProcess } from './outputs.fixture';
import { PrivatePostgres } from './private-postgres.fixture';

/** Each waits for the process to be over; one that does not end is what the limit of the test is for. */
describe('a process whose surroundings stand still', () => {
  let build: Build;
  let database: TestDatabase;
  let folder: string;
  const started: BareProcess[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'outputs-'));
    [build, database] = await Promise.all([buildService(), createTestDatabase()]);
  }, 240_000);

  afterEach(() => {
    for (const { child } of started.splice(0)) child.kill('SIGKILL');
  });

  afterAll(async () => {
    await build?.remove();
    await database?.drop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function spawnService(
    env: Record<string, string> = {},
    stdout: 'pipe' | number = 'pipe',
  ): Promise<BareProcess> {
    const all = { DATABASE_URL: database.url, LOG_FORMAT: 'json', ...env };
    const service = await BareProcess.spawn(build.main, all, ['ignore', stdout, 'pipe']);
    started.push(service);
    return service;
  }

  describe.each(['json', 'pretty'])('with LOG_FORMAT=%s', (format) => {
    it('serves and stops in order while nothing reads its output', async () => {
      const service = await spawnService({ LOG_FORMAT: format });
      service.child.stdout?.pause();
      await service.ready();
      await service.talk();
      expect(await service.status('/health/live')).toBe(200);
      expect(await service.end()).toEqual({ code: 0, signal: null });
      expect(service.complaints).toMatch(/\d+ lines of the log could not be written/);
    }, 120_000);

    it('serves and stops in order after the reader of its output has gone', async () => {
      const service = await spawnService({ LOG_FORMAT: format });
      await service.ready();
      service.child.stdout?.destroy();
      await service.talk(40);
      expect(await service.status('/health/live')).toBe(200);
      expect(await service.end()).toEqual({ code: 0, signal: null });
      expect(service.complaints).toMatch(/cannot be written \(EPIPE\)/);
    }, 120_000);

    it('serves, counts and stops in order on a full disk', async () => {
      const service = await spawnService({ LOG_FORMAT: format }, openSync('/dev/full', 'w'));
      await service.ready();
      await service.talk(40);
      const metrics = await (await fetch(`${service.url}/metrics`)).text();
      expect(Number(/^audit_log_lines_lost_total (\d+)$/m.exec(metrics)?.[1])).toBeGreaterThan(40);
      expect(await service.end()).toEqual({ code: 0, signal: null });
      expect(service.complaints.match(/cannot be written \(ENOSPC\)/g)).toHaveLength(1);
    }, 120_000);

    it('writes everything, to the last line, for a reader that comes late', async () => {
      const service = await spawnService({ LOG_FORMAT: format });
      service.child.stdout?.pause();
      await service.ready();
      await service.talk();
      let text = '';
      service.child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString())).resume();
      const closed = once(service.child, 'close');
      expect(await service.end()).toEqual({ code: 0, signal: null });
      await closed;
      const lines = text.trimEnd().split('\n');
      expect(lines.filter((line) => line.includes('xxxxxxxxxx')).length).toBe(1000);
      expect(lines.at(-1)).toContain('Stopped.');
      if (format === 'json') for (const line of lines) JSON.parse(line);
    }, 120_000);
  });

  it('says why it cannot start, completely, and ends with 1', async () => {
    const holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    const { port } = holder.address() as AddressInfo;
    const service = await spawnService({ PORT: String(port) });
    let text = '';
    service.child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
    const closed = once(service.child, 'close');
    expect(await service.exited).toEqual({ code: 1, signal: null });
    await closed;
    expect(text).toMatch(/Port \d+ is in use: set PORT to another one\."}\n$/);
    holder.close();
  }, 120_000);

  it('ends although a file does not answer that a request waits for', async () => {
    const path = join(folder, 'jwks.json');
    writeFileSync(path, '{"keys":[]}');
    const service = await spawnService({ AUTH_JWT_SECRET: '', AUTH_JWKS_FILE: path });
    service.child.stdout?.resume();
    await service.ready();
    unlinkSync(path);
    execFileSync('mkfifo', [path]); // whose opening waits for ever, as a dead network disk would
    // Only a token that names an algorithm of public keys has them looked for.
    const { privateKey } = await generateKeyPair('RS256');
    const token = await new SignJWT({ scope: 'audit:read', organizations: ['org-1'] })
      .setProtectedHeader({ alg: 'RS256', kid: 'of-the-file' })
      .setSubject('alice')
      .setExpirationTime('1h')
      .sign(privateKey);
    const asked = service.status('/api/v1/audit/events', token);
    await until(async () => (await service.status('/health/live')) === 200);
    const { code, signal } = await service.end();
    expect(code === 1 || code === 0 || signal === 'SIGKILL').toBe(true);
    expect(await asked).toBeUndefined();
  }, 120_000);

  it('ends although PostgreSQL does not answer', async () => {
    const postgres = await PrivatePostgres.start();
    try {
      const service = await spawnService({ DATABASE_URL: postgres.url });
      service.child.stdout?.pause();
      await service.ready();
      await service.talk();
      await postgres.pause();
      const asked = service.status('/api/v1/audit/events', await service.token());
      await until(async () => (await service.status('/health/live')) === 200);
      expect((await service.end()).signal).toBeNull();
      await asked;
    } finally {
      postgres.resume();
      await postgres.remove();
    }
  }, 240_000);

  it('ends although Redis does not answer', async () => {
    const redis = await startPrivateRedis();
    try {
      const service = await spawnService({ REDIS_URL: redis.url });
      service.child.stdout?.pause();
      await service.ready();
      redis.pause();
      await service.status('/api/v1/audit/events', await service.token());
      expect(await service.end()).toEqual({ code: 0, signal: null });
    } finally {
      redis.resume();
      await redis.stop();
    }
  }, 120_000);
});
