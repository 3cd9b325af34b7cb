import { loadEnvironment, readEnvFile } from '../../src/platform/config/load-environment';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectionsOfReplica, dedicatedPools, locksOfReplica } from './connections.fixture';
import {
  build,
  buildWith,
  documentsIn,
  hasKustomize,
  KUBERNETES,
  OVERLAYS,
  type Resource,
  resourcesIn,
  typeFaultsOf,
} from './manifests.fixture';

const BASE = resourcesIn('base');
const OPERATIONS = readFileSync(join(__dirname, '..', '..', 'docs', 'operations.md'), 'utf8');
const RULES = join(__dirname, '..', '..', 'deploy', 'prometheus', 'audit-server.rules.yml');
const COMPONENTS = ['prometheus-operator', 'queue-metric', 'ingress', 'gateway'] as const;
/** Connections of PostgreSQL's max_connections for backups, monitoring and people, with the three of superusers. */
const LEFT_TO_OPERATORS = 10;

function fail(kind: string): never {
  throw new Error(`There is no ${kind}`);
}

function one(resources: Resource[], kind: string, name = 'audit-server'): Resource {
  const found = resources.filter(
    (resource) => resource.kind === kind && resource.metadata.name === name,
  );
  expect(found).toHaveLength(1);
  return found[0] ?? fail(kind);
}

interface Container {
  image: string;
  envFrom: any[]; // eslint-disable-line @typescript-eslint/no-explicit-any -- checked by the specs
  env: any[]; // eslint-disable-line @typescript-eslint/no-explicit-any -- checked by the specs
}

/** The container that migrates, and that of the service. */
function containersOf(resources: Resource[]): Container[] {
  const { initContainers, containers } = one(resources, 'Deployment')['spec'].template.spec;
  return [...initContainers, ...containers] as Container[];
}

describe('the manifests', () => {
  it('conform to the Kubernetes schemas', () => {
    expect(typeFaultsOf(BASE)).toEqual([]);
  });

  it('would be found out otherwise', () => {
    const wrong = structuredClone(one(BASE, 'Deployment'));
    wrong['spec'].template.spec.containers[0].imag = 'x';
    expect(typeFaultsOf([wrong]).join()).toMatch(/imag.* does not exist in type 'IContainer'/);
    const missing = structuredClone(one(BASE, 'Deployment'));
    delete missing['spec'].selector;
    expect(typeFaultsOf([missing]).join()).toContain('selector');
    const type = structuredClone(one(BASE, 'PodDisruptionBudget'));
    type['spec'].unhealthyPodEvictionPolicy = 3;
    expect(typeFaultsOf([type])).toHaveLength(1);
  });

  it('are all in the kustomization, and nothing else is', () => {
    const text = readFileSync(join(KUBERNETES, 'base', 'kustomization.yaml'), 'utf8');
    const [{ resources }] = documentsIn(text) as unknown as [{ resources: string[] }];
    const files = resources.filter((path) => path.endsWith('.yaml'));
    expect(
      files.flatMap((path) => documentsIn(readFileSync(join(KUBERNETES, 'base', path), 'utf8'))),
    ).toHaveLength(BASE.length);
  });

  it('run as an arbitrary unprivileged user on a read-only file system', () => {
    const pod = one(BASE, 'Deployment')['spec'].template.spec;
    expect(pod.automountServiceAccountToken).toBe(false);
    expect(pod.securityContext).toMatchObject({
      runAsNonRoot: true,
      seccompProfile: { type: 'RuntimeDefault' },
    });
    for (const container of [...pod.initContainers, ...pod.containers]) {
      expect(container.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
      expect(container.resources.requests).toMatchObject({
        cpu: expect.any(String),
        memory: expect.any(String),
      });
      expect(container.resources.limits.memory).toMatch(/^\d+(Mi|Gi)$/);
    }
  });

  it('request the core that the event loop uses, and do not throttle it', () => {
    const [{ resources }] = one(BASE, 'Deployment')['spec'].template.spec.containers;
    expect(resources.requests.cpu).toBe('1');
    expect(resources.limits).not.toHaveProperty('cpu');
  });

  it('can be applied again with another image: nothing has an immutable pod template', () => {
    expect(BASE.map(({ kind }) => kind)).not.toContain('Job');
    const [migrate] = one(BASE, 'Deployment')['spec'].template.spec.initContainers;
    expect(migrate.command).toEqual(['node', 'dist/cli/migrate.js']);
    expect(migrate).not.toHaveProperty('livenessProbe');
  });

  it('leave nothing to hooks, which run before the ConfigMaps and the Secret exist', () => {
    expect(JSON.stringify(BASE)).not.toMatch(/argocd\.argoproj\.io\/hook|helm\.sh\/hook/);
  });

  it('scale by a metric that every cluster has, as an unreadable one prevents scaling down', () => {
    const { metrics, behavior } = one(BASE, 'HorizontalPodAutoscaler')['spec'];
    expect(metrics).toEqual([
      {
        type: 'Resource',
        resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 70 } },
      },
    ]);
    expect(behavior.scaleDown).not.toHaveProperty('selectPolicy');
  });

  it('serve metrics on a port that the Service does not have, to Prometheus alone', () => {
    const { template } = one(BASE, 'Deployment')['spec'];
    const [{ ports, env }] = template.spec.containers as [
      { ports: { name: string; containerPort: number }[]; env: unknown[] },
    ];
    const port = String(ports.find(({ name }) => name === 'metrics')?.containerPort);
    expect(env).toContainEqual({ name: 'METRICS_PORT', value: port });
    expect(template.metadata.annotations).toMatchObject({
      'prometheus.io/port': port,
      'prometheus.io/path': '/metrics',
    });
    expect(one(BASE, 'Service')['spec'].ports).toEqual([
      { name: 'http', port: 80, targetPort: 'http' },
    ]);
    const ingress = one(BASE, 'NetworkPolicy')['spec'].ingress as {
      from: { namespaceSelector: { matchLabels: Record<string, string> } }[];
      ports: { port: unknown }[];
    }[];
    const admitted = ingress.map(({ from, ports: to }) => [
      from.map(({ namespaceSelector }) => Object.values(namespaceSelector.matchLabels)).flat(),
      to.map((each) => each.port),
    ]);
    expect(admitted).toEqual([
      [['ingress-nginx'], ['http']],
      [['monitoring'], ['metrics']],
    ]);
  });

  it('ask the three probes that the service has, and give it time to end', () => {
    const pod = one(BASE, 'Deployment')['spec'].template.spec;
    const [container] = pod.containers;
    const paths = ['startupProbe', 'readinessProbe', 'livenessProbe'].map(
      (probe) => container[probe].httpGet.path as string,
    );
    expect(paths).toEqual(['/health/startup', '/health/ready', '/health/live']);
    const { SHUTDOWN_TIMEOUT_MS: timeoutMs } = readEnvFile('default');
    const closingSeconds = 4;
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(
      Number(container.lifecycle.preStop.sleep.seconds) + Number(timeoutMs) / 1000 + closingSeconds,
    );
  });

  it('select existing objects: the pods by their labels, the Deployment by its name', () => {
    const { labels } = one(BASE, 'Deployment')['spec'].template.metadata;
    const selectors = [
      one(BASE, 'Service')['spec'].selector,
      one(BASE, 'PodDisruptionBudget')['spec'].selector.matchLabels,
      one(BASE, 'NetworkPolicy')['spec'].podSelector.matchLabels,
      one(BASE, 'Deployment')['spec'].selector.matchLabels,
    ];
    for (const selector of selectors) expect(labels).toMatchObject(selector);
    expect(one(BASE, 'HorizontalPodAutoscaler')['spec'].scaleTargetRef).toEqual({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      name: one(BASE, 'Deployment').metadata.name,
    });
  });

  it('hold no secret: those come from the Secret', () => {
    expect(BASE.filter(({ kind }) => kind === 'Secret')).toEqual([]);
    for (const { envFrom } of containersOf(BASE)) {
      expect(envFrom.at(-1)).toEqual({ secretRef: { name: 'audit-server' } });
    }
  });
});

describe('the components', () => {
  it('route to the port of the API, which has no /metrics', () => {
    const [ingress] = resourcesIn('components/ingress').filter(({ kind }) => kind === 'Ingress');
    expect(typeFaultsOf([ingress ?? fail('Ingress')])).toEqual([]);
    const [{ http }] = ingress?.['spec'].rules ?? [];
    expect(http.paths[0].backend.service).toEqual({ name: 'audit-server', port: { name: 'http' } });
    const route = one(resourcesIn('components/gateway'), 'HTTPRoute');
    expect(route['spec'].rules[0].backendRefs).toEqual([{ name: 'audit-server', port: 80 }]);
  });

  it('point Prometheus at the metrics port of the pods, under the job of the rules', () => {
    const resources = resourcesIn('components/prometheus-operator');
    const { jobLabel, selector, podMetricsEndpoints } = one(resources, 'PodMonitor')['spec'];
    const { labels } = one(BASE, 'Deployment')['spec'].template.metadata;
    const roles = resourcesIn('components/roles');
    const { template } = one(roles, 'Deployment', 'audit-server-maintenance')['spec'];
    for (const pod of [labels, template.metadata.labels]) {
      expect(pod).toMatchObject(selector.matchLabels);
    }
    expect(podMetricsEndpoints).toMatchObject([{ port: 'metrics', path: '/metrics' }]);
    const rules = readFileSync(RULES, 'utf8');
    expect(rules).toContain(`job="${labels[jobLabel]}"`);
  });

  it('have the alert rules of deploy/prometheus', () => {
    const [rules] = documentsIn(readFileSync(RULES, 'utf8'));
    const resource = one(resourcesIn('components/prometheus-operator'), 'PrometheusRule');
    expect(resource['spec']).toEqual(rules);
  });

  it('tell of replicas that Prometheus no longer knows', () => {
    expect(readFileSync(RULES, 'utf8')).toContain('absent(up{job="audit-server"})');
  });
});

describe('the connections of a replica', () => {
  it('are those of the pools in the source, and documented', () => {
    expect(Object.fromEntries(dedicatedPools())).toEqual({
      durability: 1,
      versions: 1,
      exports: NaN,
      feed: 2,
      health: 1,
      optimize: 1,
      sealing: 1,
      upkeep: 1,
    });
    expect(connectionsOfReplica('production')).toBe(41);
    expect(OPERATIONS).toContain('`DATABASE_POOL_MAX` + `STREAMING_MAX_CONCURRENT` + 11');
  });
});

const describeBuilt = hasKustomize() ? describe : describe.skip;

describeBuilt.each(OVERLAYS)('the overlay %s', (profile) => {
  const resources = build(profile);

  it('conforms to the Kubernetes schema', () => {
    expect(typeFaultsOf(resources)).toEqual([]);
  });

  it('is in a namespace of its own, with images of one release', () => {
    expect([...new Set(resources.map(({ metadata }) => metadata.namespace))]).toEqual([
      `audit-${profile}`,
    ]);
    const images = containersOf(resources).map(({ image }) => image);
    expect(images).toHaveLength(2);
    expect(new Set(images).size).toBe(1);
    expect(images[0]).toMatch(/^[\w.]+\/audit-server:\d/);
  });

  it.each([0, 1])('gives container %i the settings of config/, defaults first', (index) => {
    const container = containersOf(resources)[index] ?? fail('container');
    const names = container.envFrom.flatMap(
      ({ configMapRef }) => configMapRef?.name ?? [],
    ) as string[];
    const maps = names.map(
      (name) => one(resources, 'ConfigMap', name)['data'] as Record<string, string>,
    );
    const given = Object.assign({}, ...maps) as Record<string, string>;
    expect(container.env).toContainEqual({ name: 'NODE_ENV', value: profile });
    expect({ NODE_ENV: profile, ...given }).toEqual(loadEnvironment({ NODE_ENV: profile }).env);
  });

  it('scales within bounds whose connections are documented', () => {
    const { minReplicas, maxReplicas } = one(resources, 'HorizontalPodAutoscaler')['spec'];
    expect(minReplicas).toBeLessThanOrEqual(maxReplicas);
    if (profile === 'production') expect(minReplicas).toBeGreaterThan(1);
    const { strategy, minReadySeconds, template } = one(resources, 'Deployment')['spec'];
    // Kubernetes does not count the replicas that end; one at a time does.
    expect(minReadySeconds).toBeGreaterThanOrEqual(template.spec.terminationGracePeriodSeconds);
    const replicas = maxReplicas + strategy.rollingUpdate.maxSurge + 1;
    const connections = replicas * connectionsOfReplica(profile);
    const row = new RegExp(
      `\\| ${profile} +\\| ${maxReplicas} \\+ 2 +\\| ${connections} +\\| (\\d+) +\\| (\\d+) +\\|`,
    );
    const [maxConnections = 0, maxLocks = 0] =
      row.exec(OPERATIONS)?.slice(1).map(Number) ?? fail(`row of ${profile}`);
    expect(connections + LEFT_TO_OPERATORS).toBeLessThanOrEqual(maxConnections);
    expect(replicas * locksOfReplica(profile)).toBeLessThanOrEqual(maxLocks * maxConnections);
    const file = join(KUBERNETES, 'overlays', profile, 'replicas.yaml');
    const told = readFileSync(file, 'utf8').replace(/\n# /g, ' ');
    expect(told).toContain(`up to ${connections} connections`);
    expect(told).toContain(`max_connections = ${maxConnections} and`);
    expect(told).toContain(`max_locks_per_transaction = ${maxLocks} `);
  });
});

describeBuilt('an overlay with all components', () => {
  it('conforms to what each of them adds', () => {
    const built = buildWith('production', COMPONENTS);
    const kinds = ['PodMonitor', 'PrometheusRule', 'Ingress', 'HTTPRoute'];
    for (const kind of kinds) {
      expect(one(built, kind).metadata.namespace).toBe('audit-production');
    }
    expect(built).toHaveLength(build('production').length + kinds.length);
    const autoscaler = one(built, 'HorizontalPodAutoscaler');
    expect(autoscaler['spec'].metrics).toMatchObject([{ type: 'Resource' }, { type: 'Pods' }]);
    expect(typeFaultsOf([autoscaler])).toEqual([]);
  });
});

describeBuilt.each(OVERLAYS)('the overlay %s with three roles', (profile) => {
  const built = buildWith(profile, ['roles']);
  const secretsOf = ({ envFrom }: Container) =>
    envFrom.flatMap(({ secretRef }) => secretRef?.name ?? []) as string[];
  const podOf = (name: string) => one(built, 'Deployment', name)['spec'].template.spec;

  it('conforms to the Kubernetes schema', () => {
    expect(typeFaultsOf(built)).toEqual([]);
  });

  it('migrates as the owner, serves as another role and maintains as a third', () => {
    const [migrate, server] = containersOf(built);
    expect(migrate && secretsOf(migrate)).toEqual(['audit-server', 'audit-server-owner']);
    expect(server && secretsOf(server)).toEqual(['audit-server']);
    expect(server?.env).toContainEqual({ name: 'DATABASE_UPKEEP_INTERVAL_SECONDS', value: '0' });
    const { initContainers, containers } = podOf('audit-server-maintenance');
    for (const container of [...initContainers, ...containers] as Container[]) {
      expect(secretsOf(container)).toEqual(['audit-server', 'audit-server-maintenance']);
      expect(container.env).toContainEqual({ name: 'NODE_ENV', value: profile });
      expect(container.env.map(({ name }) => name)).not.toContain(
        'DATABASE_UPKEEP_INTERVAL_SECONDS',
      );
      expect(container.image).toBe(server?.image);
    }
  });

  it('has one replica for maintenance, which no Service, budget or autoscaler selects', () => {
    const { replicas, template } = one(built, 'Deployment', 'audit-server-maintenance')['spec'];
    expect(replicas).toBe(1);
    for (const kind of ['Service', 'PodDisruptionBudget']) {
      const { selector } = one(built, kind)['spec'];
      const labels = selector.matchLabels ?? selector;
      expect(template.metadata.labels).not.toMatchObject(labels);
    }
  });
});
