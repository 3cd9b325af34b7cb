import { randomUUID } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';
import { until } from './until.fixture';

describe('the embedded PostgreSQL, killed on its own', () => {
  let service: TestService;
  let folder: string;
  let log = '';

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'audit-server-killed-'));
    await chmod(folder, 0o755); // as root, PostgreSQL runs as somebody else, who has to get in
    jest.spyOn(process.stdout, 'write').mockImplementation((text) => (log += String(text)) !== '');
    service = await TestService.start({
      DATABASE_URL: '',
      DATA_DIR: folder,
      LOG_LEVEL: 'info',
      LOG_FORMAT: 'json',
    });
  });

  afterAll(async () => {
    await service?.stop();
    jest.restoreAllMocks();
    for (const name of ['DATABASE_URL', 'DATA_DIR', 'LOG_LEVEL', 'LOG_FORMAT']) {
      delete process.env[name];
    }
    await rm(folder, { recursive: true, force: true, maxRetries: 10 });
  });

  async function postmasterPid(): Promise<number> {
    const file = join(folder, 'postgres', 'data', 'postmaster.pid');
    return Number.parseInt(await readFile(file, 'utf8').catch(() => ''), 10);
  }

  it.each([1, 2])('comes back without a restart of the service: time %d', async (time) => {
    const organizationId = `org-${randomUUID()}`;
    const token = await tokenOf({ organizations: [organizationId] });
    const acknowledged = new Set<string>();
    let isWriting = true;
    let failures = 0;
    const write = async (): Promise<void> => {
      while (isWriting) {
        const { status, json } = await service.post(EVENTS, token, eventWith({ organizationId }));
        if (status === 201) acknowledged.add(String(json.id));
        else failures += 1;
      }
    };
    const writers = Array.from({ length: 4 }, write);
    await until(() => acknowledged.size > 20);
    const pid = await postmasterPid();
    process.kill(pid, 'SIGKILL');
    await until(() => failures > 0);
    await until(async () => (await service.get('/health/ready')).status === 200);
    const before = acknowledged.size;
    await until(() => acknowledged.size > before + 20);
    isWriting = false;
    await Promise.all(writers);

    expect(await postmasterPid()).not.toBe(pid);
    const stored = new Set<string>();
    for (let cursor = ''; ;) {
      // 503 until the commits that the crash has interrupted are known to be durable or gone.
      let page = await service.get(`${EVENTS}?limit=1000${cursor}`, token);
      await until(async () => {
        if (page.status === 503) page = await service.get(`${EVENTS}?limit=1000${cursor}`, token);
        return page.status === 200;
      });
      const { json } = page;
      for (const { id } of json.data as { id: string }[]) stored.add(id);
      if (json.pagination.nextCursor === undefined || !json.pagination.hasNext) break;
      cursor = `&cursor=${json.pagination.nextCursor}`;
    }
    expect([...acknowledged].filter((id) => !stored.has(id))).toEqual([]);
    expect(log).toContain(
      `PostgreSQL has ended without being told to: starting it again (attempt ${time} in ten minutes).`,
    );
    expect(log.split('PostgreSQL runs again, with every acknowledged commit.')).toHaveLength(
      time + 1,
    );
  });
});
