import { once } from 'node:events';
import { connect } from 'node:net';
import { startTestRedis } from './redis-server';

const NAMES = ['TEST_REDIS_URL', 'PATH', 'CI'] as const;

describe('startTestRedis', () => {
  const original = Object.fromEntries(NAMES.map((name) => [name, process.env[name]]));
  afterEach(() => {
    for (const name of NAMES) {
      if (original[name] === undefined) delete process.env[name];
      else process.env[name] = original[name];
    }
    jest.restoreAllMocks();
  });

  it('starts a server that answers and stops it', async () => {
    delete process.env['TEST_REDIS_URL'];
    delete process.env['CI'];
    const redis = await startTestRedis();
    if (!redis) return; // it has warned
    const port = Number(new URL(redis.url).port);
    const socket = connect(port, '127.0.0.1');
    socket.write('PING\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toBe('+PONG\r\n');
    socket.destroy();
    await redis.stop();
    await expect(once(connect(port, '127.0.0.1'), 'connect')).rejects.toThrow('ECONNREFUSED');
  });

  it('hands out the configured server as it is', async () => {
    process.env['TEST_REDIS_URL'] = 'redis://example.test:1';
    const redis = await startTestRedis();
    expect(redis?.url).toBe('redis://example.test:1');
    await redis?.stop();
  });

  it('warns loudly without a server, and fails when CI=true', async () => {
    delete process.env['TEST_REDIS_URL'];
    process.env['PATH'] = '/nonexistent';
    process.env['CI'] = 'false';
    const write = jest.spyOn(process.stderr, 'write').mockReturnValue(true);
    await expect(startTestRedis()).resolves.toBeUndefined();
    expect(write).toHaveBeenCalledWith(expect.stringContaining('THE REDIS TESTS ARE SKIPPED'));
    process.env['CI'] = 'true';
    await expect(startTestRedis()).rejects.toThrow('CI=true needs a Redis');
  });
});
