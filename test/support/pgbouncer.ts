import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findFreePort } from '../../src/platform/database/embedded/embedded-postgres';

/** A PgBouncer in transaction mode before one server. */
export interface TestPgBouncer {
  /** The same database, by way of it. */
  via(databaseUrl: string): string;
  /** Whether it knows prepared statements (1.21 and newer). */
  knowsPreparedStatements: boolean;
  stop(): Promise<void>;
}

const WARNING = `
******************************************************************************
*  THE PGBOUNCER TESTS ARE SKIPPED: there is no pgbouncer on the PATH.       *
******************************************************************************
`;
const PREPARED_SINCE = [1, 21] as const;
/** The user nobody: PgBouncer refuses to run as root. */
const UNPRIVILEGED_UID = 65534;

/** `describe` for specs that need PgBouncer; skipped loudly without it, a failure with CI=true. */
export function describeWithPgBouncer(): jest.Describe {
  if (version()) return describe;
  if (process.env['CI'] === 'true') throw new Error('CI=true needs pgbouncer on the PATH');
  process.stderr.write(WARNING);
  return describe.skip;
}

function version(): [number, number] | undefined {
  const { stdout } = spawnSync('pgbouncer', ['--version'], { encoding: 'utf8' });
  const [, major, minor] = /PgBouncer (\d+)\.(\d+)/.exec(stdout ?? '') ?? [];
  return major === undefined ? undefined : [Number(major), Number(minor)];
}

/** Starts it on a free port; `poolSize` connections to the server are all that its clients share. */
export async function startPgBouncer(serverUrl: string, poolSize: number): Promise<TestPgBouncer> {
  const [major, minor] = version() ?? [0, 0];
  const knowsPreparedStatements = major > PREPARED_SINCE[0] || minor >= PREPARED_SINCE[1];
  const home = mkdtempSync(join(tmpdir(), 'audit-pgbouncer-'));
  chmodSync(home, 0o755);
  const port = await findFreePort();
  const { hostname, port: serverPort, username, password } = new URL(serverUrl);
  const user = `user=${decodeURIComponent(username)}`;
  // An empty password is a syntax error to PgBouncer, and refuses every client.
  const login = password === '' ? user : `${user} password='${decodeURIComponent(password)}'`;
  const settings = [
    '[databases]',
    `* = host=${hostname} port=${serverPort || 5432} ${login}`,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${port}`,
    'unix_socket_dir =',
    'auth_type = any',
    'pool_mode = transaction',
    `default_pool_size = ${poolSize}`,
    'ignore_startup_parameters = options,statement_timeout,idle_in_transaction_session_timeout',
    ...(knowsPreparedStatements ? ['max_prepared_statements = 500'] : []),
  ];
  const path = join(home, 'pgbouncer.ini');
  writeFileSync(path, `${settings.join('\n')}\n`);
  const asNobody =
    process.geteuid?.() === 0 ? { uid: UNPRIVILEGED_UID, gid: UNPRIVILEGED_UID } : {};
  const child = spawn('pgbouncer', ['-q', path], { ...asNobody, stdio: 'ignore' });
  const exited = once(child, 'exit');
  const killWithUs = () => child.kill('SIGKILL');
  process.once('exit', killWithUs);
  while (child.exitCode === null && !(await answers(port))) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  if (child.exitCode !== null) throw new Error('pgbouncer did not start');
  return {
    via: (databaseUrl) => {
      const url = new URL(databaseUrl);
      url.hostname = '127.0.0.1';
      url.port = String(port);
      return url.href;
    },
    knowsPreparedStatements,
    stop: async () => {
      child.kill('SIGKILL');
      await exited;
      process.off('exit', killWithUs);
      rmSync(home, { recursive: true, force: true });
    },
  };
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
