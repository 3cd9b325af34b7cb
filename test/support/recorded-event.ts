import * as fc from 'fast-check';
import { instant, objectJson, sparseJson, storableText } from './event-arbitraries';

const ACTIONS = [
  ...['user.login', 'signin:ConsoleLogin', 'sign_out', 'user.password.change', 'account.disable'],
  ...['user.create', 's3:GetObject', 'iam:CreateUser', 'invoice.approve', 'fhirPatientRead'],
  ...['entity.rename', 'role.lock', 'ping'],
];
const TYPES = ['User', 'service_account', 'Invoice', ''];
const ADDRESSES = [
  ...['198.51.100.7', '2001:db8::1', '::ffff:192.0.2.1', 'fe80::1%eth0', 'AWS Internal', ''],
  ...['0:0:0:0:0:ffff:192.168.100.228%interface-name-that-is-long'],
];

/** Characters that a line of CEF escapes. */
const delimiters = fc.string({ unit: fc.constantFrom('=', '|', '\\', '\n', 'a'), maxLength: 20 });
const text = fc.oneof({ weight: 4, arbitrary: storableText(255) }, delimiters);
const optional = fc.option(text);
const DAY = 86_400_000;

/** JSON text of a recorded event as exports have it, of any content that the service stores. */
export const recordedEvent: fc.Arbitrary<string> = fc
  .record({
    id: fc.uuid(),
    at: instant(-62_000_000_000_000, 4_000_000_000_000),
    recorded: instant(Date.parse('2026-01-01'), Date.parse('2026-01-01') + DAY),
    sequence: fc.oneof(fc.bigInt(1n, 5_000_000_000n), fc.bigInt(1n, 2n ** 63n - 1n)),
    organizationId: text.map((name) => name || 'o'),
    principalId: optional,
    action: fc.oneof(
      fc.constantFrom(...ACTIONS),
      text.map((one) => one || 'a'),
    ),
    target: fc.tuple(fc.option(fc.oneof(fc.constantFrom(...TYPES), text)), optional),
    status: fc.constantFrom('attempt', 'success', 'failure'),
    outcomeDescription: fc.option(storableText(2000)),
    correlationId: optional,
    sessionContext: fc.option(
      fc.record(
        {
          sessionId: optional,
          ipAddress: fc.option(fc.oneof(fc.constantFrom(...ADDRESSES), text)),
          userAgent: fc.option(storableText(2000)),
          geolocation: optional,
        },
        { requiredKeys: [] },
      ),
    ),
    metadata: fc.option(objectJson),
    sparse: sparseJson,
  })
  .map(({ at, recorded, sequence, target, metadata, sparse, ...event }) => {
    const targets =
      sparse.targets &&
      (JSON.parse(sparse.targets) as { type?: string | null; id?: string | null }[]);
    const [type, id] = targets ? [targets[0]?.type, targets[0]?.id] : target;
    const { id: eventId, sessionContext, correlationId, outcomeDescription, ...first } = event;
    const members = JSON.stringify({
      id: eventId,
      timestamp: at.utc,
      recordedAt: recorded.utc,
      sequence: String(sequence),
      ...first,
      targetResourceType: type ?? null,
      targetResourceId: id ?? null,
      outcomeDescription,
      dataClassification: 'INTERNAL',
      correlationId,
      sessionContext,
    });
    const more = Object.entries(sparse).map(([name, json]) => `,"${name}":${json}`);
    const rest = minified(`,"metadata":${metadata ?? 'null'}${more.join('')}`);
    return `${members.slice(0, -1)}${rest}}`;
  });

/** Without white space outside strings, as the service stores JSON. */
function minified(json: string): string {
  return json.replace(/("(?:[^"\\]|\\.)*")|\s+/g, '$1');
}

/** JSON text of a recorded event with these members. */
export function recordedWith(members: object): string {
  return JSON.stringify({
    id: '019ab1c2-3e4a-7000-8000-1234567890ab',
    timestamp: '2026-11-23T10:30:00.123456789Z',
    recordedAt: '2026-11-23T10:30:00.234567Z',
    sequence: '1042',
    organizationId: 'org-1',
    principalId: null,
    action: 'ping',
    targetResourceType: null,
    targetResourceId: null,
    status: 'success',
    outcomeDescription: null,
    dataClassification: 'INTERNAL',
    correlationId: null,
    sessionContext: null,
    metadata: null,
    ...members,
  });
}
