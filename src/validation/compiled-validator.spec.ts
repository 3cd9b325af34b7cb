import {
  ArrayMaxSize,
  ArrayMinSize,
  IsArray,
  IsBoolean,
  IsIn,
  IsInt,
  IsOptional,
  IsString,
  IsUUID,
  Length,
  Matches,
  Max,
  MaxLength,
  Min,
  validate as validateByLibrary,
  ValidateNested,
  type ValidationError,
} from 'class-validator';
import fc from 'fast-check';
import {
  BulkCreateAuditEventsDto,
  CreateAuditEventDto,
} from '../audit/event/dto/create-audit-event.dto';
import type { FieldError } from '../platform/errors/app-error';
import { validate } from './compiled-validator';
import {
  Check,
  CheckObject,
  flag,
  integer,
  jsonObject,
  list,
  Nested,
  nestedTypeOf,
  oneOf,
  text,
} from './constraints';

/** DTO classes with stock decorators and our own, nested and inherited. */
class Leaf {
  @IsString()
  @Length(1, 3)
  name!: string;

  @IsOptional()
  @Check(integer(0, 9))
  size?: number | null;
}

class Branch extends Leaf {
  @IsInt()
  @Min(-2)
  @Max(2)
  stock!: number;

  @IsIn(['a', 'b'])
  word!: string;

  @IsBoolean()
  yes!: boolean;

  @IsOptional()
  @IsUUID()
  id?: string;

  @Matches(/^x+$/)
  pattern!: string;

  @IsOptional()
  @IsArray()
  @ArrayMaxSize(2)
  @IsString({ each: true })
  @MaxLength(2, { each: true })
  tags?: string[];

  @Check(oneOf(['c', 'd']))
  ours!: string;

  @IsOptional()
  @Check(list(1, 2))
  @Check(text(2, 1), { each: true })
  lines?: string[];

  @IsOptional()
  @Check(flag)
  flag?: boolean;

  @IsOptional()
  @Nested(() => Leaf)
  leaf?: Leaf;

  @IsArray()
  @ArrayMinSize(1)
  @Nested(() => Leaf, { each: true })
  leaves!: Leaf[];

  @IsOptional()
  @Check(jsonObject(40, 2))
  json?: object;
}

const odd = fc.constantFrom<unknown>(
  undefined,
  null,
  '',
  'xx',
  'long text',
  0,
  3,
  1.5,
  NaN,
  true,
  {},
  [],
  ['a'],
  [1],
);
const or = (good: fc.Arbitrary<unknown>) =>
  fc.oneof({ weight: 6, arbitrary: good }, { weight: 1, arbitrary: odd });
const record = (model: Record<string, fc.Arbitrary<unknown>>, requiredKeys?: string[]) =>
  fc.record(model, requiredKeys ? { requiredKeys } : {}) as fc.Arbitrary<Record<string, unknown>>;
const leaf = record(
  { name: or(fc.string({ minLength: 1, maxLength: 3 })), size: or(fc.nat({ max: 9 })), extra: odd },
  [],
);
const branch = record(
  {
    name: or(fc.string({ maxLength: 4 })),
    size: or(fc.integer({ min: -1, max: 10 })),
    stock: or(fc.integer({ min: -3, max: 3 })),
    word: or(fc.constantFrom('a', 'b')),
    yes: or(fc.boolean()),
    id: or(fc.uuid()),
    pattern: or(fc.constantFrom('x', 'xx', 'y')),
    tags: or(fc.array(fc.string({ maxLength: 3 }), { maxLength: 3 })),
    ours: or(fc.constantFrom('c', 'd')),
    lines: or(fc.array(fc.string({ maxLength: 3 }), { maxLength: 3 })),
    flag: or(fc.boolean()),
    leaf: or(leaf),
    leaves: or(
      fc.array(
        fc.oneof(
          { weight: 5, arbitrary: leaf },
          { weight: 1, arbitrary: fc.constantFrom('no', 7) },
        ),
        { maxLength: 3 },
      ),
    ),
    json: or(fc.dictionary(fc.constantFrom('a', 'b'), fc.jsonValue({ maxDepth: 2 }))),
    other: odd,
  },
  [],
);

/** An instance of a DTO class, as class-validator wants it. */
function instanceOf(dto: new () => object, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((element) => instanceOf(dto, element));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, member]) => {
    const nested = nestedTypeOf(dto, key);
    return [key, nested ? instanceOf(nested(), member) : (member as unknown)];
  });
  return Object.assign(new dto(), Object.fromEntries(entries));
}

function pathsOf(errors: ValidationError[], at = ''): string[] {
  return errors.flatMap(({ property, constraints, children }) => {
    const path = /^\d+$/.test(property) ? `${at}[${property}]` : `${at}${at && '.'}${property}`;
    return constraints ? [path] : pathsOf(children ?? [], path);
  });
}

/** Which members are wrong, without the place inside one. */
function members(paths: string[]): string[] {
  const known = paths.map((path) =>
    path
      .replace(/^(tags|lines)\[\d+\]$/, '$1')
      .replace(/^json.+$/, 'json')
      .replace(/\[\d+\]$/, ''),
  );
  return [...new Set(known)].sort();
}

const namesOf = (errors: FieldError[]) => errors.map(({ path }) => path);

describe('the compiled validator', () => {
  it('refuses a list where an object belongs, and an object where a list does', () => {
    const faults = validate(Branch, { leaf: [{ name: 'a' }], leaves: { name: 'a' } });
    expect(namesOf(faults)).toEqual(expect.arrayContaining(['leaf', 'leaves']));
  });

  it('finds the same members wrong as class-validator does', async () => {
    await fc.assert(
      fc.asyncProperty(branch, async (value) => {
        // class-validator takes a list for an object; ours does not, see below.
        fc.pre(!Array.isArray((value as { leaf?: unknown } | null)?.leaf));
        const expected = await validateByLibrary(instanceOf(Branch, value) as object, {
          whitelist: true,
          forbidNonWhitelisted: true,
        });
        expect(members(namesOf(validate(Branch, value)))).toEqual(members(pathsOf(expected)));
      }),
      { numRuns: 2000 },
    );
  });

  it('accepts a good value of every member', () => {
    const good = {
      name: 'abc',
      size: 9,
      stock: -2,
      word: 'a',
      yes: false,
      pattern: 'xxx',
      tags: ['a', 'bb'],
      ours: 'c',
      id: '0198c1f2-3e4a-4000-8000-1234567890ab',
      lines: ['a'],
      flag: true,
      leaf: { name: 'a' },
      json: { a: { b: 1 } },
      leaves: [{ name: 'a', size: null }, { name: 'b' }],
    };
    expect(validate(Branch, good)).toEqual([]);
  });

  it('names index and path of every fault', () => {
    const value = {
      name: 'a',
      stock: 0,
      word: 'a',
      yes: true,
      pattern: 'x',
      ours: 'c',
      leaf: { name: 5 },
      lines: ['ok', ''],
      leaves: [{ name: 'a' }, { name: 'four' }, { size: 10, name: 'a' }, {}],
      json: { a: { b: {} } },
    };
    expect(namesOf(validate(Branch, value))).toEqual(
      [
        'lines[1]',
        'leaf.name',
        'leaves[1].name',
        'leaves[2].size',
        'leaves[3].name',
        'json.a.b',
      ].sort(byPlace(validate(Branch, value))),
    );
  });

  /** Orders paths as the faults are. */
  function byPlace(errors: FieldError[]) {
    const order = namesOf(errors);
    return (a: string, b: string) => order.indexOf(a) - order.indexOf(b);
  }

  it('refuses unknown members at every level, also those that every object has', () => {
    const event = JSON.parse(
      '{"organizationId":"o","action":"a","status":"success","__proto__":1,"constructor":2,"x y":3,"sessionContext":{"toString":1}}',
    ) as unknown;
    expect(namesOf(validate(CreateAuditEventDto, event)).sort()).toEqual(
      ['__proto__', 'constructor', '["x y"]', 'sessionContext.toString'].sort(),
    );
  });

  it('does not take an inherited member for one that was sent', () => {
    const value: unknown = Object.setPrototypeOf({ name: 'a' }, { size: 77, other: 1 });
    expect(validate(Leaf, value)).toEqual([]);
  });

  it('names only so many of a million unknown members', () => {
    const value = Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`m${index}`, 1]));
    const faults = validate(CreateAuditEventDto, value);
    expect(faults.length).toBeLessThan(40);
    expect(faults).toContainEqual({ path: '', message: 'has 4980 more unknown properties' });
  });

  it.each([[null], [undefined], ['text'], [7]])('refuses %j as a body', (value) => {
    expect(validate(CreateAuditEventDto, value)).toEqual([
      { path: '', message: 'must be a JSON object' },
    ]);
  });

  it('refuses an array as a body with what its type says of several', () => {
    expect(validate(CreateAuditEventDto, [])).toEqual([
      { path: '', message: expect.stringMatching(/^must be a JSON object, not an array; .*bulk/) },
    ]);
  });

  it('refuses an array as a body whose type says nothing of several with its members', () => {
    class Range {
      @Check(integer(1, 9))
      from!: number;
      @Check(integer(1, 9))
      to!: number;
    }
    expect(validate(Range, [])).toEqual([
      {
        path: '',
        message: 'must be a JSON object, not an array; send one object; allowed members: from, to',
      },
    ]);
  });

  it('checks ten thousand events of one request and names the bad ones', () => {
    const events = Array.from({ length: 10_000 }, (_, index) => ({
      timestamp: '2026-11-23T10:30:00.123456Z',
      organizationId: `org-${index % 7}`,
      principalId: 'user-1',
      action: index === 9_876 ? '' : 'fhirPatientRead',
      status: 'success',
      metadata: { ward: 'B2', list: [1, 2, { deep: true }] },
    }));
    expect(validate(BulkCreateAuditEventsDto, { events })).toEqual([
      { path: 'events[9876].action', message: expect.any(String) as string },
    ]);
  });

  it('checks an object as a whole once its members are valid, at any depth', () => {
    @CheckObject<Range>(({ from, to }) =>
      from <= to ? undefined : { at: '.to', message: 'must not be below from' },
    )
    class Range {
      @Check(integer(0, 9))
      from!: number;

      @Check(integer(0, 9))
      to!: number;
    }
    class Ranges {
      @Check(list(1))
      @Nested(() => Range, { each: true })
      ranges!: Range[];
    }
    expect(validate(Range, { from: 1, to: 1 })).toEqual([]);
    expect(validate(Range, { from: 2, to: 1 })).toEqual([
      { path: 'to', message: 'must not be below from' },
    ]);
    expect(validate(Range, { from: 2, to: 'x' }).map(({ message }) => message)).toEqual([
      'must be a whole number from 0 to 9',
    ]);
    const ranges = [
      { from: 1, to: 2 },
      { from: 2, to: 1 },
    ];
    expect(validate(Ranges, { ranges })).toEqual([
      { path: 'ranges[1].to', message: 'must not be below from' },
    ]);
  });

  it('refuses to be compiled for a nested member whose class it cannot know', () => {
    class Lacking {
      @ValidateNested()
      child!: object;
    }
    expect(() => validate(Lacking, {})).toThrow(TypeError);
  });
});
