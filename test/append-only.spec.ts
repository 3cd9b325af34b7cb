import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildSchema } from 'graphql';
import { appRouter } from '../src/api/trpc/app-router';

const DOCS = join(__dirname, '..', 'docs');
const read = (name: string) => readFileSync(join(DOCS, name), 'utf8');

/*
 * A promise of docs/security.md. What is not a plain reading is named here, so that a new way to change something is
 * looked at twice. That both descriptions are those of the code is checked by `.ci/run`.
 */
describe('no protocol changes or deletes an event', () => {
  it('of REST: events are sent, and read', () => {
    const { paths } = JSON.parse(read('openapi.json')) as {
      paths: Record<string, Record<string, unknown>>;
    };
    const changing = Object.entries(paths).flatMap(([path, operations]) =>
      Object.keys(operations)
        .filter((method) => method !== 'get')
        .map((method) => `${method} ${path.replace('/api/v1/', '')}`),
    );
    // Schemas and their modes are no events.
    expect(changing.sort()).toEqual([
      'delete audit/schemas/{action}/{version}',
      'delete performance/cache',
      'post /v1/logs',
      'post audit/events',
      'post audit/events/bulk',
      'post audit/events/ingest',
      'post auth/tickets',
      'post performance/audit/events',
      'post performance/audit/events/bulk',
      'post performance/cache/warmup',
      'post performance/database/optimize',
      'post performance/profiles',
      'put audit/schemas/mode',
      'put audit/schemas/{action}/{version}',
    ]);
  });

  it('of GraphQL', () => {
    const mutations = buildSchema(read('schema.graphql')).getMutationType()?.getFields() ?? {};
    expect(Object.keys(mutations).sort()).toEqual([
      'bulkCreateAuditEvents',
      'createAuditEvent',
      'invalidateCache',
      'optimizeDatabase',
      'warmupCache',
    ]);
  });

  it('of tRPC', () => {
    const procedures = appRouter._def.procedures as unknown as Record<
      string,
      { _def: { type: string } }
    >;
    const mutations = Object.keys(procedures).filter(
      (path) => procedures[path]?._def.type === 'mutation',
    );
    expect(mutations.sort()).toEqual([
      'performance.bulkCreateAuditEvents',
      'performance.cacheOperations.invalidate',
      'performance.cacheOperations.warmUp',
      'performance.databaseOptimization.optimize',
    ]);
  });
});
