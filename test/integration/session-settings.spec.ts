import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { runMigrations } from '../../src/platform/database/migrate';
import { createTestDatabase } from '../support/test-database';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';
import { openReplica } from './replica.fixture';

/** Values with which answers would differ or requests fail, where flipping a switch does not tell. */
const HOSTILE: Record<string, string> = {
  timezone: 'Asia/Tokyo',
  datestyle: 'SQL, DMY',
  extra_float_digits: '-15',
  client_encoding: 'LATIN1',
  client_min_messages: 'error',
  default_transaction_isolation: 'serializable',
  lock_timeout: '1ms',
  statement_timeout: '1ms',
  idle_in_transaction_session_timeout: '1ms',
  idle_session_timeout: '1ms',
};

/** Every other switch that a role or a database may set, turned. Those of one transaction and of the log are not. */
const TURNED_SWITCHES = `
  SELECT name, CASE vartype WHEN 'bool' THEN CASE boot_val WHEN 'on' THEN 'off' ELSE 'on' END
    ELSE (SELECT value FROM unnest(enumvals) value WHERE value <> boot_val LIMIT 1) END AS value
  FROM pg_settings
  WHERE context = 'user' AND vartype IN ('bool', 'enum') AND name <> ALL ($1)
    AND name !~ '^(transaction_|debug_print|debug_pretty|log_|trace_|stats_)'`;

async function on<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url, options: '-c statement_timeout=0' });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

async function configure(url: string, settings: Record<string, string>): Promise<void> {
  const name = new URL(url).pathname.slice(1);
  await on(url, async (client) => {
    for (const [setting, value] of Object.entries(settings)) {
      await client.query(`ALTER DATABASE ${name} SET ${setting} = '${value}'`);
    }
  });
}

/** An empty database whose settings are all hostile. */
async function makeHostile(url: string): Promise<string> {
  const turned = await on(url, async (client) => {
    await client.query('DROP SCHEMA public CASCADE; CREATE SCHEMA public');
    const { rows } = await client.query<{ name: string; value: string | null }>(TURNED_SWITCHES, [
      Object.keys(HOSTILE),
    ]);
    return Object.fromEntries(
      rows.flatMap(({ name, value }) => (value === null ? [] : [[name, value]])),
    );
  });
  expect(Object.keys(turned).length).toBeGreaterThan(40);
  await configure(url, { ...turned, ...HOSTILE });
  return url;
}

const IDS = Array.from({ length: 4 }, () => randomUUID());

/** Events that have no value where they need none, text of all kinds, and numbers of any length. */
const EVENT = (index: number) =>
  eventWith({
    id: IDS[index],
    action: `a\\'"b ${index}`,
    outcomeDescription: index % 2 ? null : 'žluťoučký “kůň” 🐎 \\u0041 NULL',
    timestamp: `2024-0${index + 1}-03T04:05:06.000007Z`,
    metadata: { ratio: 0.1234567890123457, text: 'NULL', when: '03/04/2024' },
  });

/** What the service says to a round of writes and reads, without what differs from run to run. */
async function answersOf(service: TestService): Promise<Record<string, string>> {
  const token = await tokenOf({
    organizations: ['*'],
    scope: 'audit:read audit:write audit:export',
  });
  const keyed = { 'idempotency-key': 'k' };
  const lines = { 'content-type': 'application/x-ndjson' };
  const send = {
    one: () => service.post(EVENTS, token, EVENT(0)),
    again: () => service.post(EVENTS, token, EVENT(0)),
    bulk: () => service.post(`${EVENTS}/bulk`, token, { events: [EVENT(1), EVENT(2)] }, keyed),
    replay: () => service.post(`${EVENTS}/bulk`, token, { events: [EVENT(1), EVENT(2)] }, keyed),
    ndjson: () => service.post(`${EVENTS}/bulk`, token, JSON.stringify(EVENT(3)), lines),
    page: () => service.get(`${EVENTS}?include_total=true&limit=3`, token),
    filtered: () => service.get(`${EVENTS}?start_date=2024-02-01T00:00:00Z&actions=x`, token),
    month: () =>
      service.get(`${EVENTS}?start_date=2024-02-01T00:00:00Z&end_date=2024-03-01T00:00:00Z`, token),
    sequence: () => service.get(`${EVENTS}?sort_field=sequence&sort_direction=asc`, token),
    byId: () => service.get(`${EVENTS}/${IDS[1]}`, token),
    records: () => service.get(`${EVENTS}/stream?format=ndjson`, token),
    table: () => service.get(`${EVENTS}/stream?format=csv`, token),
  };
  const answers: Record<string, string> = {};
  for (const [name, ask] of Object.entries(send)) {
    const { status, text } = await ask();
    const steady = text
      .replace(/\b20(?!24)\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z/g, 'now')
      .replace(/"performance":\{[^}]*\}/g, '"performance":{}')
      .replace(/("\w*[cC]ursor"):"[^"]*"/g, '$1:"…"')
      .replace(/"(requestId|instance|traceId)":"[^"]*"/g, '"$1":"…"');
    answers[name] = `${status} ${steady}`;
  }
  return answers;
}

async function answersWith(prepare: (url: string) => Promise<string>) {
  const service = await TestService.start({ DATABASE_UPKEEP_INTERVAL_SECONDS: '0' }, prepare);
  try {
    return await answersOf(service);
  } finally {
    await service.stop();
  }
}

describe('settings that a database or a role has', () => {
  it('change no answer: every one of a session is given by the service', async () => {
    const usual = await answersWith((url) => Promise.resolve(url));
    for (const [name, answer] of Object.entries(usual)) {
      expect(`${name} ${answer.slice(0, 4)}`).toMatch(/ 20[01] $/);
    }
    expect(await answersWith(makeHostile)).toEqual(usual);
  }, 60_000);

  it('yield to those of the service also beside options of the URL', async () => {
    const test = await createTestDatabase();
    try {
      await configure(test.url, { timezone: 'Asia/Tokyo', jit: 'on' });
      const options = encodeURIComponent('-c search_path=pg_catalog,public -c timezone=Asia/Tokyo');
      const replica = await openReplica(`${test.url}?options=${options}`);
      try {
        const rows = await replica.dataSource.query<unknown[]>(
          `SELECT current_setting('timezone') AS timezone, current_setting('jit') AS jit,
             current_setting('search_path') AS path`,
        );
        expect(rows).toEqual([{ timezone: 'UTC', jit: 'off', path: 'pg_catalog,public' }]);
      } finally {
        await replica.close();
      }
    } finally {
      await test.drop();
    }
  });

  it('end the start, before anything is made, when they leave no schema for tables', async () => {
    const test = await createTestDatabase();
    try {
      await configure(test.url, { search_path: 'nowhere' });
      await expect(runMigrations(test.url)).rejects.toThrow(
        /search_path \(nowhere\) names no schema.*ALTER ROLE \S+ SET search_path = public/,
      );
    } finally {
      await test.drop();
    }
  });

  it('end the start, before anything is made, when the encoding of the database is not UTF8', async () => {
    const name = `${process.env.TEST_DATABASE_PREFIX}latin`;
    const server = process.env.TEST_SERVER_URL ?? '';
    await on(server, (client) =>
      client.query(`CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'`),
    );
    const url = Object.assign(new URL(server), { pathname: `/${name}` }).href;
    try {
      await expect(runMigrations(url)).rejects.toThrow(
        /encoding LATIN1.*CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'/,
      );
      const { rows } = await on(url, (client) =>
        client.query(`SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace`),
      );
      expect(rows).toEqual([]);
    } finally {
      await on(server, (client) => client.query(`DROP DATABASE ${name} WITH (FORCE)`));
    }
  });
});
