import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { OcsfAttribute, OcsfObject, OcsfSchema } from './ocsf-schema';

/** A file of the schema, as far as it is read here. */
interface SourceFile {
  name?: string;
  caption?: string;
  uid?: number;
  extends?: string;
  category?: string;
  meta?: string;
  attributes?: Record<string, SourceAttribute> & { $include?: string[] };
  constraints?: { at_least_one?: string[] };
  '@deprecated'?: object;
}

interface SourceAttribute {
  type?: string;
  is_array?: boolean;
  requirement?: string;
  enum?: Record<string, { caption: string }>;
  sibling?: string;
  profile?: string | null;
  '@deprecated'?: object;
}

interface Dictionary {
  attributes: Record<string, SourceAttribute>;
  types: { attributes: Record<string, { type?: string; regex?: string; max_len?: number }> };
}

/** Compiles the schema from a folder with the files of one release of ocsf/ocsf-schema, without its extensions. */
export function readPublishedSchema(folder: string): OcsfSchema {
  const read = <T>(path: string) => JSON.parse(readFileSync(join(folder, path), 'utf8')) as T;
  const compiler = new Compiler(read<Dictionary>('dictionary.json').attributes, (path) =>
    existsSync(join(folder, path)) ? read<SourceFile>(path) : {},
  );
  const types = read<Dictionary>('dictionary.json').types.attributes;
  const categories = Object.entries(
    read<{ attributes: Record<string, { uid: number; caption: string }> }>('categories.json')
      .attributes,
  );
  const uidOf = new Map(categories.map(([name, { uid }]) => [name, uid]));
  const events = filesIn(folder, 'events').map((path) => read<SourceFile>(path));
  const objects = filesIn(folder, 'objects').map((path) => read<SourceFile>(path));
  return {
    version: read<{ version: string }>('version.json').version,
    categories: { 0: 'Uncategorized', ...captions(categories) },
    types: Object.fromEntries(
      Object.entries(types).map(([name, { type = name, regex, max_len }]) => [
        name,
        { base: type, pattern: regex, maxLength: max_len },
      ]),
    ),
    objects: Object.fromEntries(
      objects.map((one) => [one.name, compiler.compile(one, objects)]),
    ) as Record<string, OcsfObject>,
    classes: Object.fromEntries(
      events
        .filter(({ uid, name }) => uid !== undefined || name === 'base_event')
        .map((one) => {
          const category = uidOf.get(compiler.inherited(one, events).category ?? '') ?? 0;
          const compiled = compiler.compile(one, events);
          const uid = category * 1000 + (one.uid ?? 0);
          return [uid, { ...compiled, caption: one.caption ?? '', category }];
        }),
    ),
  };
}

function captions(categories: [string, { uid: number; caption: string }][]) {
  return Object.fromEntries(categories.map(([, { uid, caption }]) => [uid, caption]));
}

function filesIn(folder: string, part: string): string[] {
  const entries = readdirSync(join(folder, part), { recursive: true, encoding: 'utf8' });
  return entries.filter((name) => name.endsWith('.json')).map((name) => join(part, name));
}

class Compiler {
  constructor(
    private readonly dictionary: Record<string, SourceAttribute>,
    private readonly include: (path: string) => SourceFile,
  ) {}

  /** A class or an object with what it extends and includes. */
  inherited(file: SourceFile, all: SourceFile[]): SourceFile {
    const { includes, own } = partsOf(file);
    const parent = all.find(({ name }) => name === file.extends);
    const base = parent ? this.inherited(parent, all) : {};
    const attributes = partsOf(base).own;
    for (const path of includes) {
      const included = this.include(path);
      const profile = included.meta === 'profile' ? { profile: included.name } : {};
      merge(attributes, partsOf(included).own, profile);
    }
    merge(attributes, own);
    return { ...base, ...file, attributes, constraints: file.constraints ?? base.constraints };
  }

  compile(file: SourceFile, all: SourceFile[]): OcsfObject {
    const whole = this.inherited(file, all);
    const atLeastOne = whole.constraints?.at_least_one;
    return {
      attributes: Object.fromEntries(
        Object.entries(partsOf(whole).own).map(([name, attribute]) => [
          name,
          this.attribute(name, attribute),
        ]),
      ),
      atLeastOne: atLeastOne ? [atLeastOne] : [],
      isDeprecated: file['@deprecated'] !== undefined,
    };
  }

  private attribute(name: string, own: SourceAttribute): OcsfAttribute {
    const common = this.dictionary[name] ?? {};
    const isEnumeration = (own.enum ?? common.enum) !== undefined;
    const values = Object.entries({ ...common.enum, ...own.enum });
    // Values of class_uid, category_uid and type_uid are computed: judge() compares them itself.
    const isComputed = ['class_uid', 'category_uid', 'type_uid'].includes(name);
    return {
      type: own.type ?? common.type ?? 'string_t',
      isArray: own.is_array ?? common.is_array ?? false,
      isRequired: own.requirement === 'required',
      ...(isEnumeration && !isComputed
        ? { values: Object.fromEntries(values.map(([id, { caption }]) => [id, caption])) }
        : {}),
      sibling: own.sibling ?? common.sibling,
      profile: own.profile ?? undefined,
      isDeprecated: (own['@deprecated'] ?? common['@deprecated']) !== undefined,
    };
  }
}

function partsOf({ attributes = {} }: SourceFile): {
  includes: string[];
  own: Record<string, SourceAttribute>;
} {
  const { $include = [], ...own } = attributes;
  return { includes: $include, own: own };
}

/** Later definitions of an attribute add to earlier ones; `profile: null` frees it from its profile. */
function merge(
  into: Record<string, SourceAttribute>,
  from: Record<string, SourceAttribute>,
  more: SourceAttribute = {},
): void {
  for (const [name, attribute] of Object.entries(from)) {
    const before = into[name];
    const values = { ...before?.enum, ...attribute.enum };
    const isEnumeration = Object.keys(values).length > 0;
    into[name] = { ...before, ...more, ...attribute, ...(isEnumeration ? { enum: values } : {}) };
  }
}
