import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { OcsfObject } from './ocsf-schema';
import { readPublishedSchema } from './published-schema';
import { USED_SCHEMA } from './used-schema';

// The files of release 1.3.0 of ocsf/ocsf-schema, which are not part of this repository.
const folder = process.env.OCSF_SCHEMA ?? '';

describe('the part of OCSF that is written down for the specs', () => {
  if (!existsSync(join(folder, 'dictionary.json'))) {
    it.skip('needs OCSF_SCHEMA, a folder with the files of ocsf-schema 1.3.0', () => undefined);
    return;
  }

  const published = readPublishedSchema(folder);
  const parts = [
    ...Object.keys(USED_SCHEMA.classes).map((uid) => ['classes', uid] as const),
    ...Object.keys(USED_SCHEMA.objects).map((name) => ['objects', name] as const),
  ];

  it.each(parts)('is that of the published schema: %s %s', (part, name) => {
    const used = USED_SCHEMA[part][name as never] as OcsfObject & { caption?: string };
    const whole = published[part][name as never] as typeof used;
    expect(whole).toMatchObject({ atLeastOne: used.atLeastOne, isDeprecated: false });
    expect(whole.caption).toBe(used.caption);
    for (const [attribute, { values, ...rules }] of Object.entries(used.attributes)) {
      expect(whole.attributes[attribute]).toMatchObject({ ...rules, isDeprecated: false });
      expect(whole.attributes[attribute]?.values ?? {}).toMatchObject(values ?? {});
      expect(whole.attributes[attribute]?.profile).toBe(rules.profile);
    }
    const required = Object.entries(whole.attributes).filter(
      ([, one]) => one.isRequired && !one.profile,
    );
    expect(Object.keys(used.attributes)).toEqual(
      expect.arrayContaining(required.map(([id]) => id)),
    );
  });

  it('is of the same release', () => {
    expect(published).toMatchObject({
      version: USED_SCHEMA.version,
      categories: USED_SCHEMA.categories,
    });
  });
});
