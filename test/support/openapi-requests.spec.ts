import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { type Document, operationsOf, requestTo } from './openapi-requests';
import type { Schema } from './schema-arbitraries';

const document = JSON.parse(
  readFileSync(join(__dirname, '..', '..', 'docs', 'openapi.json'), 'utf8'),
) as Document;

/** Enough that a share of a quarter is not below a tenth by chance. */
const REQUESTS = 200;

/** Names of the members of an object; none of anything else. */
function membersOf(body: Buffer | undefined): Set<string> {
  try {
    const value = JSON.parse(body?.toString() ?? '') as unknown;
    return new Set(typeof value === 'object' ? Object.keys(value ?? {}) : []);
  } catch {
    return new Set();
  }
}

describe.each(operationsOf(document).map((one) => ({ ...one, name: `${one.method} ${one.path}` })))(
  'requests to $name',
  ({ method, path, operation }) => {
    const requests = fc.sample(requestTo(document, { method, path, operation }, ['token'], {}), {
      numRuns: REQUESTS,
      seed: 5,
    });

    /** The share of requests that have a parameter. */
    const shareOf = (place: 'query' | 'header', name: string) =>
      requests.filter((request) =>
        place === 'query'
          ? new RegExp(`[?&]${name}=`).test(request.path)
          : Object.hasOwn(request.headers, name.toLowerCase()),
      ).length / REQUESTS;

    it('have each optional parameter often, and not always', () => {
      const optional = (operation.parameters ?? []).filter(
        ({ in: place, required }) => (place === 'query' || place === 'header') && !required,
      );
      const shares = optional.map(({ in: place, name }) => ({
        name,
        share: shareOf(place as 'query' | 'header', name),
      }));
      expect(shares.filter(({ share }) => share < 0.1 || share > 0.9)).toEqual([]);
    });

    it('have a parameter that is not described now and then', () => {
      if (operation.parameters?.some(({ in: place }) => place === 'query')) return;
      const share = requests.filter(({ path: target }) => target.includes('?')).length / REQUESTS;
      expect(share).toBeGreaterThan(0.02);
      expect(share).toBeLessThan(0.2);
    });

    it('have each member of a body often', () => {
      const { schema } = operation.requestBody?.content['application/json'] ?? {};
      const name = schema?.$ref?.split('/').at(-1) ?? '';
      const { properties = {} } = (document.components['schemas']?.[name] ?? {}) as Schema;
      const bodies = requests
        .filter(({ headers }) => headers['content-encoding'] === undefined)
        .map(({ body }) => membersOf(body));
      const shares = Object.keys(properties).map((member) => ({
        member,
        share: bodies.filter((members) => members.has(member)).length / bodies.length,
      }));
      expect(shares.filter(({ share }) => share < 0.1)).toEqual([]);
    });

    it('have each required parameter but for a few', () => {
      const required = (operation.parameters ?? []).filter(
        ({ in: place, required: isRequired }) => place === 'query' && isRequired,
      );
      const shares = required.map(({ name }) => ({ name, share: shareOf('query', name) }));
      expect(shares.filter(({ share }) => share < 0.85 || share === 1)).toEqual([]);
    });
  },
);
