import { loadEnvironment, readEnvFile } from '../../src/platform/config/load-environment';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  build,
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
/** Of a replica, beside its pool and its exports: every `sidePool` of a fixed size. */
const OTHER_CONNECTIONS = 6;

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

  it.each(['Deployment', 'Job'])(
    'run a %s as an arbitrary unprivileged user on a read-only file system',
    (kind) => {
      const [{ spec }] = BASE.filter((resource) => resource.kind === kind) as [Resource];
      const pod = spec.template.spec;
      expect(pod.automountServiceAccountToken).toBe(false);
      expect(pod.securityContext).toMatchObject({
        runAsNonRoot: true,
        seccompProfile: { type: 'RuntimeDefault' },
      });
      for (const container of pod.containers) {
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
    },
  );

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
    const job = one(BASE, 'Job', 'audit-server-migrate')['spec'].template.metadata.labels;
    expect(job).not.toMatchObject(one(BASE, 'Service')['spec'].selector);
    expect(job).toMatchObject(one(BASE, 'NetworkPolicy')['spec'].podSelector.matchLabels);
    expect(one(BASE, 'HorizontalPodAutoscaler')['spec'].scaleTargetRef).toEqual({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      name: one(BASE, 'Deployment').metadata.name,
    });
  });

  it('hold no secret: those come from the Secret', () => {
    expect(BASE.filter(({ kind }) => kind === 'Secret')).toEqual([]);
    for (const kind of ['Deployment', 'Job']) {
      const [{ spec }] = BASE.filter((resource) => resource.kind === kind) as [Resource];
      const [container] = spec.template.spec.containers;
      const sources = container.envFrom as unknown[];
      expect(sources.at(-1)).toEqual({ secretRef: { name: 'audit-server' } });
    }
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
    const images = resources
      .filter(({ kind }) => kind === 'Deployment' || kind === 'Job')
      .flatMap(({ spec }) =>
        (spec.template.spec.containers as { image: string }[]).map(({ image }) => image),
      );
    expect(new Set(images).size).toBe(1);
    expect(images[0]).toMatch(/^[\w.]+\/audit-server:\d/);
  });

  it.each(['Deployment', 'Job'])('gives a %s the settings of config/, defaults first', (kind) => {
    const [{ spec }] = resources.filter((resource) => resource.kind === kind) as [Resource];
    const [container] = spec.template.spec.containers as [{ envFrom: any[]; env: any[] }]; // eslint-disable-line @typescript-eslint/no-explicit-any -- checked by what follows
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
    const { DATABASE_POOL_MAX: pool, STREAMING_MAX_CONCURRENT: exports } = loadEnvironment({
      NODE_ENV: profile,
    }).env;
    const { maxSurge } = one(resources, 'Deployment')['spec'].strategy.rollingUpdate;
    const connections =
      (maxReplicas + maxSurge) * (Number(pool) + Number(exports) + OTHER_CONNECTIONS);
    const told = [profile, `${maxReplicas} + ${maxSurge}`, connections].join(' *\\| *');
    expect(OPERATIONS).toMatch(new RegExp(`\\| *${told.replace('+', '\\+')} *\\|`));
  });
});
