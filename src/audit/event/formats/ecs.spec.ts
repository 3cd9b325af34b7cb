import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as fc from 'fast-check';
import ts from 'typescript';
import { memberTexts } from '../../../../test/support/json-text';
import { recordedEvent, recordedWith } from '../../../../test/support/recorded-event';
import { ECS, ECS_VERSION } from './ecs';

/** Every field of ECS, with dots, and the kinds of JSON value that it takes: `source.ip` → `string`. */
const FIELDS = readFields();

/** From the types that Elastic publishes; each field set is an interface `Ecs…` in a file of its own. */
function readFields(): Map<string, string> {
  const folder = dirname(require.resolve('@elastic/ecs'));
  const fields = new Map<string, string>();
  for (const name of readdirSync(folder).filter((one) => one.endsWith('.d.ts'))) {
    const set = name.slice(0, -'.d.ts'.length);
    const text = readFileSync(join(folder, name), 'utf8');
    const source = ts.createSourceFile(name, text, ts.ScriptTarget.Latest);
    source.forEachChild((node) => {
      if (ts.isInterfaceDeclaration(node) && set !== 'index') {
        collect(node.members, set === 'base' ? '' : `${set}.`, source, fields);
      }
    });
  }
  return fields;
}

function collect(
  members: ts.NodeArray<ts.TypeElement>,
  prefix: string,
  source: ts.SourceFile,
  fields: Map<string, string>,
): void {
  for (const member of members) {
    if (!ts.isPropertySignature(member) || !member.type) continue;
    const name = member.name.getText(source).replace(/^['"]|['"]$/g, '');
    if (ts.isTypeLiteralNode(member.type)) {
      collect(member.type.members, `${prefix}${name}.`, source, fields);
    } else fields.set(`${prefix}${name}`, member.type.getText(source));
  }
}

/** Paths and values of a document, lists as they are. */
function leavesOf(value: object, prefix = ''): [string, unknown][] {
  return Object.entries(value).flatMap(([name, member]: [string, unknown]) =>
    typeof member === 'object' && member !== null && !Array.isArray(member)
      ? leavesOf(member, `${prefix}${name}.`)
      : [[`${prefix}${name}`, member] as [string, unknown]],
  );
}

function violationsOf(document: object): string[] {
  return leavesOf(document).flatMap(([path, value]) => {
    const type = FIELDS.get(path);
    if (type === undefined) return [`${path} is no field of ECS`];
    const isList = Array.isArray(value);
    const given = typeof (isList ? (value as unknown[])[0] : value);
    const takes =
      type.includes(given) || type === `"${String(value)}"` || type === `'${String(value)}'`;
    return takes && (!isList || /Array|\[\]/.test(type))
      ? []
      : [`${path} is ${type}, not ${given}`];
  });
}

/** Types that ECS expects with a category. */
const EXPECTED: Record<string, string[]> = {
  authentication: ['start', 'end', 'info'],
  iam: ['admin', 'change', 'creation', 'deletion', 'group', 'info', 'user'],
  api: [
    'access',
    'admin',
    'allowed',
    'change',
    'creation',
    'deletion',
    'denied',
    'end',
    'info',
    'start',
    'user',
  ],
};

interface EcsEvent {
  event: { category?: string[]; type: string[]; original: string; sequence: number };
  audit: object;
}

describe('an event in ECS', () => {
  it('has only fields of ECS beside `audit`, and the text of the event', () => {
    expect(FIELDS.size).toBeGreaterThan(500);
    expect(FIELDS.get('ecs.version')).toContain(ECS_VERSION);
    const categories = new Set<string>();
    fc.assert(
      fc.property(recordedEvent, (eventText) => {
        const written = ECS.write(eventText);
        expect(written).not.toMatch(/[\n\r]/);
        const { audit, ...document } = JSON.parse(written) as EcsEvent;
        expect(Object.keys(audit)).toContain('data_classification');
        expect(violationsOf(document)).toEqual([]);
        const { category: [category] = [], type, original } = document.event;
        expect(original).toBe(eventText);
        if (category === undefined) return;
        categories.add(category);
        for (const one of type) expect(EXPECTED[category]).toContain(one);
      }),
      { numRuns: 1000, seed: 20 },
    );
    expect([...categories].sort()).toEqual(['api', 'authentication', 'iam']);
  });

  it('has the members of the event where ECS has fields for them', () => {
    const event = recordedWith({
      ...{ action: 'user.create', status: 'failure', outcomeDescription: 'Taken' },
      ...{ principalId: 'u1', principalName: 'Ada', correlationId: 'c1' },
      targets: [{ type: 'User', id: 'u2', name: 'Bob' }],
      source: { service: 'accounts', host: 'h1', version: '2' },
      sessionContext: { sessionId: 's1', ipAddress: '2001:db8::1', userAgent: 'curl/8' },
    });
    expect(JSON.parse(ECS.write(event))).toMatchObject({
      '@timestamp': '2026-11-23T10:30:00.123456789Z',
      event: {
        category: ['iam'],
        type: ['creation', 'user'],
        action: 'user.create',
        outcome: 'failure',
        reason: 'Taken',
        provider: 'accounts',
      },
      organization: { id: 'org-1' },
      user: { id: 'u1', name: 'Ada' },
      source: { address: '2001:db8::1', ip: '2001:db8::1' },
      related: { ip: ['2001:db8::1'], user: ['u1', 'Ada'] },
      user_agent: { original: 'curl/8' },
      service: { name: 'accounts', version: '2' },
      host: { name: 'h1' },
      audit: {
        correlation_id: 'c1',
        session_id: 's1',
        status: 'failure',
        target: [{ type: 'User', id: 'u2', name: 'Bob' }],
      },
    });
  });

  it('has an address that is none only as `source.address`', () => {
    const event = recordedWith({ sessionContext: { ipAddress: 'AWS Internal' } });
    expect(JSON.parse(ECS.write(event)).source).toEqual({ address: 'AWS Internal' });
  });

  it('keeps every digit of the sequence', () => {
    const written = ECS.write(recordedWith({ sequence: '9223372036854775807' }));
    const event = memberTexts(memberTexts(written).get('event') ?? '{}');
    expect(event.get('sequence')).toBe('9223372036854775807');
  });
});
