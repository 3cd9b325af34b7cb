/** The parts of an OCSF schema by which an event is judged. */
export interface OcsfSchema {
  version: string;
  /** By uid. */
  classes: Record<number, OcsfObject & { caption: string; category: number }>;
  objects: Record<string, OcsfObject>;
  types: Record<string, { base: string; pattern?: string; maxLength?: number }>;
  /** Captions by uid. */
  categories: Record<number, string>;
}

export interface OcsfObject {
  attributes: Record<string, OcsfAttribute>;
  /** Lists of attributes of each of which one has to be there. */
  atLeastOne: string[][];
  isDeprecated?: boolean;
}

export interface OcsfAttribute {
  /** Of `types` or `objects`. */
  type: string;
  isArray: boolean;
  isRequired: boolean;
  /** Captions by value. */
  values?: Record<string, string>;
  /** The attribute that has the caption of a value. */
  sibling?: string;
  /** Allowed only where `metadata.profiles` names it. */
  profile?: string;
  isDeprecated?: boolean;
}

export interface Findings {
  errors: string[];
  warnings: string[];
}

type Members = Record<string, unknown>;

/**
 * Judges an event as the validator of the OCSF project does: unknown, missing and mistyped attributes, values outside an
 * enumeration and constraints are errors; deprecated attributes and captions that do not fit their value are warnings.
 */
export function judge(event: Members, schema: OcsfSchema): Findings {
  const found: Findings = { errors: [], warnings: [] };
  const definition = schema.classes[event.class_uid as number];
  if (!definition) return { errors: [`class_uid ${String(event.class_uid)}`], warnings: [] };
  const metadata = event.metadata as Members;
  const judging = { schema, found, profiles: (metadata.profiles ?? []) as string[] };
  judgeObject(event, definition, '', judging);
  const expected = {
    type_uid: (event.class_uid as number) * 100 + (event.activity_id as number),
    category_uid: definition.category,
    class_name: definition.caption,
    category_name: schema.categories[definition.category],
  };
  for (const [name, value] of Object.entries(expected)) {
    if (event[name] !== value) found.errors.push(`${name} is ${String(event[name])}, not ${value}`);
  }
  if (metadata.version !== schema.version) found.errors.push('metadata.version');
  return found;
}

interface Judging {
  schema: OcsfSchema;
  found: Findings;
  profiles: string[];
}

function judgeObject(value: Members, definition: OcsfObject, path: string, judging: Judging): void {
  const { errors, warnings } = judging.found;
  if (definition.isDeprecated) warnings.push(`${path} is deprecated`);
  for (const [name, member] of Object.entries(value)) {
    const attribute = definition.attributes[name];
    const at = `${path}${name}`;
    if (!attribute) errors.push(`${at} is unknown`);
    else if (attribute.profile && !judging.profiles.includes(attribute.profile)) {
      errors.push(`${at} needs the profile ${attribute.profile}`);
    } else {
      if (attribute.isDeprecated) warnings.push(`${at} is deprecated`);
      judgeValue(member, attribute, at, judging);
      judgeSibling(value, name, attribute, at, judging);
    }
  }
  for (const [name, { isRequired, profile }] of Object.entries(definition.attributes)) {
    const isAsked = isRequired && (!profile || judging.profiles.includes(profile));
    if (isAsked && !Object.hasOwn(value, name)) errors.push(`${path}${name} is missing`);
  }
  for (const names of definition.atLeastOne) {
    if (!names.some((name) => Object.hasOwn(value, name))) {
      errors.push(`${path} has none of ${names.join(', ')}`);
    }
  }
}

function judgeValue(value: unknown, attribute: OcsfAttribute, at: string, judging: Judging): void {
  const { errors } = judging.found;
  if (attribute.isArray !== Array.isArray(value)) {
    errors.push(`${at} must ${attribute.isArray ? '' : 'not '}be an array`);
    return;
  }
  for (const one of attribute.isArray ? (value as unknown[]) : [value]) {
    judgeOne(one, attribute, at, judging);
  }
}

const MAX_LONG = 2 ** 53;

function judgeOne(value: unknown, { type, values }: OcsfAttribute, at: string, judging: Judging) {
  const { schema, found } = judging;
  const object = schema.objects[type];
  if (object) {
    if (typeof value !== 'object' || value === null) found.errors.push(`${at} must be an object`);
    else if (type !== 'object') judgeObject(value as Members, object, `${at}.`, judging);
    return;
  }
  const { base = type, pattern, maxLength = Infinity } = schema.types[type] ?? {};
  const isNumber = typeof value === 'number' && Number.isInteger(value);
  const isRight: Record<string, boolean> = {
    string_t: typeof value === 'string' && value.length <= maxLength,
    integer_t: isNumber && Math.abs(value) < 2 ** 31,
    long_t: isNumber && Math.abs(value) < MAX_LONG,
    boolean_t: typeof value === 'boolean',
  };
  if (!isRight[base]) found.errors.push(`${at} is no ${type}: ${JSON.stringify(value)}`);
  else if (pattern !== undefined && !new RegExp(pattern).test(String(value))) {
    found.errors.push(`${at} does not match ${type}: ${String(value)}`);
  }
  if (values && !Object.hasOwn(values, String(value))) {
    found.errors.push(`${at} must not be ${String(value)}`);
  }
}

const OTHER = '99';

function judgeSibling(
  value: Members,
  name: string,
  { values, sibling }: OcsfAttribute,
  at: string,
  { found }: Judging,
): void {
  if (!values || sibling === undefined) return;
  const id = String(value[name]);
  const caption = value[sibling];
  if (id === OTHER) {
    if (caption === undefined || caption === 'Other') found.warnings.push(`${at} tells no name`);
  } else if (caption !== undefined && caption !== values[id]) {
    found.warnings.push(`${at} is ${values[id]}, not ${JSON.stringify(caption)}`);
  }
}
