import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { eventsIn, EVENTS, TEST_AUTH, TestService, tokenOf } from '../support/test-service';

const ROOT = resolve(__dirname, '..', '..');
const ORGANIZATIONS = ['demo-bank', 'demo-clinic', 'demo-shop'];
const DAY_MS = 86_400_000;

/** `npm run demo`, which may build dist/ first. Rejects with `code` and `stderr`. */
function demo(url: string, environment: NodeJS.ProcessEnv = {}) {
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, ...TEST_AUTH, ...environment };
  return promisify(execFile)('npm', ['run', '-s', 'demo', '--', '--url', url], { cwd: ROOT, env });
}

const sentIn = (stdout: string) =>
  /^(\d+) events .*: (\d+) created, (\d+) duplicates/.exec(stdout)?.slice(1).map(Number) ?? [];

describe('npm run demo', () => {
  let service: TestService;
  const storedCount = async () => {
    const client = await service.connect();
    const { rows } = await client.query<{ count: number }>(
      'SELECT count(*)::int AS count FROM audit_event',
    );
    await client.end();
    return rows[0]?.count;
  };

  beforeAll(async () => {
    service = await TestService.start();
  });

  afterAll(async () => {
    await service?.stop();
  });

  it('fills a service once, however often it runs, and prints commands that work', async () => {
    const { stdout } = await demo(service.url);
    const [sent = 0, created, duplicates] = sentIn(stdout);
    expect(sent).toBeGreaterThan(2000);
    expect([created, duplicates]).toEqual([sent, 0]);
    expect(await storedCount()).toBe(sent);

    // A new hour may have begun in between, and has a few more events.
    const [sentAgain = 0, createdAgain, duplicatesAgain] = sentIn((await demo(service.url)).stdout);
    expect(duplicatesAgain).toBe(sent);
    expect(createdAgain).toBe(sentAgain - sent);
    expect(await storedCount()).toBe(sentAgain);

    const token = /^TOKEN='([^']+)'$/m.exec(stdout)?.[1];
    const commands = [...stdout.matchAll(/^curl .*'(http[^']+)'/gm)].map(([, url = '']) => url);
    expect(commands.length).toBeGreaterThan(3);
    for (const command of commands.filter((url) => !url.includes('/tail'))) {
      const answer = await service.get(command.slice(service.url.length), token);
      expect(answer.status).toBe(200);
      if (!command.includes('/stream')) expect(eventsIn(answer).length).toBeGreaterThan(0);
    }
  }, 240_000);

  it('spreads the events of each organization over the last thirty days', async () => {
    const token = await tokenOf({ organizations: ORGANIZATIONS });
    for (const organization of ORGANIZATIONS) {
      for (const [direction, ageDays] of [
        ['asc', 28],
        ['desc', 0],
      ] as const) {
        const query = `organization_ids=${organization}&sort_direction=${direction}&limit=1`;
        const [event] = eventsIn(await service.get(`${EVENTS}?${query}`, token));
        const ageMs = Date.now() - Date.parse(String(event?.timestamp));
        expect(ageMs / DAY_MS).toBeGreaterThan(ageDays);
        expect(ageMs / DAY_MS).toBeLessThan(ageDays + 3);
      }
    }
  });

  it('says how to start a service, and which secret a token needs', async () => {
    await expect(demo('http://127.0.0.1:1')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Start one with `npm start`'),
    });
    const other = { AUTH_JWT_SECRET: 'another secret than that of the service under test' };
    await expect(demo(service.url, other)).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('answered 401'),
    });
  });
});
