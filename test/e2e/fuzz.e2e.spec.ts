import { readFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { SCOPES } from '../../src/auth/principal';
import type { AuditEventPageDto } from '../../src/audit/event/dto/responses.dto';
import { Profiler } from '../../src/profiling/profiler';
import { DescribedResponses, send } from '../support/openapi-responses';
import {
  brokenReferencesIn,
  type Document,
  examplesInPaths,
  type KnownValues,
  operationsOf,
  requestTo,
} from '../support/openapi-requests';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

/**
 * Requests made from docs/openapi.json, whatever routes it holds, against the running service: no answer is a 5xx, and
 * each has a status, a content type and a body that the document describes. FUZZ_SECONDS is the time for all routes
 * together; a failure prints seed and path, and FUZZ_SEED with FUZZ_PATH repeats it.
 */
const SECONDS = Number(process.env['FUZZ_SECONDS'] ?? 25);
const SEED = process.env['FUZZ_SEED'];
const REPLAY_PATH = process.env['FUZZ_PATH'];

/** Requests to a route at least, however slow the machine is. */
const ROUND = 10;
/** Bounds the search for a smaller request that fails, so that the failure is reported before Jest gives up. */
const SHRINKING_MS = (SECONDS + 30) * 1000;
/** Requests of which at least one should have been good. */
const ENOUGH_TO_TELL = 60;
/** Of a profile, whatever was asked for: one of its default length takes longer than the time of its route. */
const PROFILE_SECONDS = 0.02;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

const document = JSON.parse(
  readFileSync(join(__dirname, '..', '..', 'docs', 'openapi.json'), 'utf8'),
) as Document;
const operations = operationsOf(document).map((one) => ({
  ...one,
  name: `${one.method} ${one.path}`,
}));

describe('every route of the description', () => {
  const answers = new DescribedResponses(document);
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  const seen = new Map<string, Map<number, number>>();
  let service: TestService;
  let tokens: string[];
  let known: KnownValues;

  beforeAll(async () => {
    // eslint-disable-next-line @typescript-eslint/unbound-method -- called with the instance below
    const { begin } = Profiler.prototype;
    jest.spyOn(Profiler.prototype, 'begin').mockImplementation(function (
      this: Profiler,
      type,
      _seconds,
      signal,
    ) {
      return begin.call(this, type, PROFILE_SECONDS, signal);
    });
    service = await TestService.start();
    const scope = SCOPES.join(' ');
    const organizations = ['org-1', 'org-2'];
    tokens = [
      await tokenOf({ scope, organizations }),
      await tokenOf({ scope, organizations: ['*'] }),
      await tokenOf({ scope: 'audit:read', organizations: [] }),
      await tokenOf({ scope: '', organizations }),
      'not.a.token',
    ];
    const ids = examplesInPaths(document).filter((example) => UUID.test(example));
    const events = [{}, ...ids.map((id) => ({ id }))].map(eventWith);
    await service.post(`${EVENTS}/bulk`, tokens[0] ?? '', { events });
    known = await knownValues();
    const schema = '/api/v1/audit/schemas/fhirPatientRead/2?organization_id=org-1';
    await service.request('PUT', schema, { token: tokens[0], body: { schema: true } });
  });

  afterAll(async () => {
    jest.restoreAllMocks();
    agent.destroy();
    await service?.stop();
    if (process.env['FUZZ_SECONDS']) process.stdout.write(`${tally(seen)}\n`);
  });

  // Schemas that one route was sent would refuse what others are.
  afterEach(async () => {
    for (const organization of ['org-1', 'org-2']) {
      const mode = `/api/v1/audit/schemas/mode?organization_id=${organization}`;
      await service.request('PUT', mode, { token: tokens[0], body: { mode: 'off' } });
    }
  });

  async function knownValues(): Promise<KnownValues> {
    const page = await service.get(`${EVENTS}?limit=1`, tokens[0] ?? '');
    const { data, pagination } = page.json as AuditEventPageDto;
    const cursor = pagination.nextCursor;
    const [{ id, timestamp, recordedAt }] = data as [AuditEventPageDto['data'][number]];
    return {
      start_date: ['2026-01-01', '2026-06-01T00:00:00Z'],
      end_date: ['2027-01-01', '2026-12-31T23:59:59.5+01:00'],
      organization_id: ['org-1'],
      organization_ids: [['org-1'], ['org-1', 'org-2']],
      metadata: [['ward'], ['!ward=B2', 'durationMs=12.5']],
      q: ['login', 'actor:user-1 -status:failure'],
      ip_addresses: [['198.51.100.7'], ['10.0.0.0/8', '!::1']],
      time_zone: ['Europe/Zurich', 'UTC'],
      cursor: [cursor],
      after_timestamp: [timestamp],
      after_id: [id],
      after_recorded_at: [recordedAt],
      after_organization_id: ['org-1'],
      after_sequence: ['0', '1'],
      'Last-Event-ID': ['0', '1'],
      'X-Organization-Id': ['org-1'],
      'If-None-Match': ['*', '"other"'],
    };
  }

  it('is found, with everything that is referred to', () => {
    expect(operations.length).toBeGreaterThan(10);
    expect(brokenReferencesIn(document)).toEqual([]);
  });

  it.each(operations)(
    'answers $name as described, whatever it is sent',
    async ({ name, method, path, operation }) => {
      const statuses = new Map<number, number>();
      seen.set(name, statuses);
      const property = fc.asyncProperty(
        requestTo(document, { method, path, operation }, tokens, known),
        async (request) => {
          const answer = await send(service.port, request, agent);
          statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
          const faults = answers.violationsOf(method, path, operation, answer);
          if (faults.length > 0) throw new Error(`${faults.join('; ')}\n${shown(request)}`);
        },
      );
      const endsAtMs = performance.now() + (SECONDS * 1000) / operations.length;
      do {
        await fc.assert(property, {
          numRuns: ROUND,
          interruptAfterTimeLimit: SHRINKING_MS,
          ...(SEED === undefined ? {} : { seed: Number(SEED) }),
          ...(REPLAY_PATH === undefined ? {} : { path: REPLAY_PATH }),
        });
      } while (SEED === undefined && performance.now() < endsAtMs);
      // Requests that nothing good ever comes of would try the validation alone. A busy machine sends too few to tell.
      const sent = [...statuses.values()].reduce((sum, count) => sum + count, 0);
      // Of two parameters of a path both have to be those of something that exists.
      const parameters = path.match(/\{/g)?.length ?? 1;
      if (sent < ENOUGH_TO_TELL * parameters ** 3) return;
      const good = [...statuses.keys()].filter((status) => status < 400);
      expect({ name, good }).not.toEqual({ name, good: [] });
    },
    (SECONDS + 60) * 1000,
  );
});

function shown({ body, ...request }: { body?: Buffer }): string {
  return JSON.stringify({ ...request, body: body?.toString('latin1').slice(0, 2000) });
}

function tally(seen: Map<string, Map<number, number>>): string {
  return [...seen]
    .map(([name, statuses]) => {
      const counts = [...statuses].sort(([a], [b]) => a - b).map(([code, n]) => `${code}×${n}`);
      return `${name}: ${counts.join(' ')}`;
    })
    .join('\n');
}
