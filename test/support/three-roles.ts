import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { Client } from 'pg';

const SCRIPT = join(__dirname, '..', '..', 'deploy', 'postgresql', 'roles.sql');

const WARNING = `
******************************************************************************
*  THE ROLES ARE NOT TESTED: there is no psql (Debian: apt-get install       *
*  postgresql-client).                                                       *
******************************************************************************
`;

/** `describe` for specs that run deploy/postgresql/roles.sql; skipped loudly without psql, a failure with CI=true. */
export function describeWithPsql(): jest.Describe {
  try {
    execFileSync('psql', ['--version'], { stdio: 'ignore' });
    return describe;
  } catch {
    if (process.env['CI'] === 'true')
      throw new Error('CI=true needs the package postgresql-client');
    process.stderr.write(WARNING);
    return describe.skip;
  }
}

type Role = 'owner' | 'maintenance' | 'server';

/** A database of its own, without tables, and three roles for it. */
export class ThreeRoles {
  readonly names: Record<Role, string>;

  private constructor(
    private readonly name: string,
    readonly schema: string,
  ) {
    this.names = { owner: `${name}_owner`, maintenance: `${name}_upkeep`, server: `${name}_api` };
  }

  static async create(schema = 'public'): Promise<ThreeRoles> {
    const name = `${process.env.TEST_DATABASE_PREFIX}${randomBytes(4).toString('hex')}`;
    await asAdministrator((admin) => admin.query(`CREATE DATABASE ${name} TEMPLATE template0`));
    return new ThreeRoles(name, schema);
  }

  /** Runs the script, and gives the roles a password. @returns what psql printed. */
  async grant(): Promise<string> {
    const variables = Object.entries({ ...this.names, schema: this.schema });
    const printed = execFileSync(
      'psql',
      [
        ...['-X', '-q', '-d', this.url(), '-f', SCRIPT],
        ...variables.flatMap(([name, value]) => ['-v', `${name}=${value}`]),
      ],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
    );
    await asAdministrator(async (admin) => {
      for (const name of Object.values(this.names)) {
        await admin.query(`ALTER ROLE ${name} PASSWORD 'word'`);
      }
    });
    return printed;
  }

  /** The database as a role sees it; the administrator's without one. */
  url(role?: Role): string {
    const url = new URL(process.env.TEST_SERVER_URL ?? '');
    url.pathname = `/${this.name}`;
    if (role) Object.assign(url, { username: this.names[role], password: 'word' });
    return url.href;
  }

  async connect(role?: Role): Promise<Client> {
    const client = new Client({ connectionString: this.url(role) });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  async drop(): Promise<void> {
    await asAdministrator(async (admin) => {
      await admin.query(`DROP DATABASE IF EXISTS ${this.name} WITH (FORCE)`);
      for (const role of Object.values(this.names))
        await admin.query(`DROP ROLE IF EXISTS ${role}`);
    });
  }
}

async function asAdministrator(work: (admin: Client) => Promise<unknown>): Promise<void> {
  const admin = new Client({ connectionString: process.env.TEST_SERVER_URL });
  await admin.connect();
  try {
    await work(admin);
  } finally {
    await admin.end();
  }
}
