import { type DevelopmentClaims } from '../../src/auth/development-token';
import { tokenFor } from '../integration/service.fixture';
import { EVENTS, listText } from '../support/test-service';
import type { Random } from './random.fixture';

/** The last two would break a key or a list that does not spell them carefully. */
export const ORGANIZATIONS = ['org-a', 'org-ab', 'org-c', 'org:*,d', '~1~org e'] as const;

/** Somebody who reads. */
export interface User {
  name: string;
  token: string;
  /** Whose events they see; `*` spelled out. */
  organizations: readonly string[];
  /** Queries that they ask again and again. */
  favourites: readonly string[];
}

/** One organization, several, all; two of the same organizations; one subject under two tokens that differ in them. */
const CLAIMS: [subject: string, organizations: string[]][] = [
  ['alice', ['org-a']],
  ['bert', ['org-a']],
  ['alice', ['org-a', 'org-ab', 'org-c']],
  ['carol', ['org-ab', 'org:*,d']],
  ['dora', ['org-c', '~1~org e']],
  ['erik', ['*']],
  ['fay', ['*']],
];
const SCOPES: DevelopmentClaims['scopes'] = [
  'audit:read',
  'audit:write',
  'performance:read',
  'performance:manage',
];

const ACTIONS = ['read', 'write', 'login', 'logout'];
const STATUSES = ['attempt', 'success', 'failure'];
const CLASSIFICATIONS = ['PUBLIC', 'INTERNAL', 'CONFIDENTIAL', 'PHI'];
const PRINCIPALS = ['user-1', 'user-2', 'user-3'];
const DAY_MS = 24 * 60 * 60 * 1000;
const DAYS = 8;
const FAVOURITES = 6;

/** The newest events of one organization. */
export function newestPath(organization: string): string {
  return `${EVENTS}?organization_ids=${encoded([organization])}&sort_field=sequence&limit=5`;
}

/** How many events there are of all organizations that the user sees. */
export const TOTAL_PATH = `${EVENTS}?include_total=true&limit=3&sort_field=sequence`;

/** All users, with the queries that they like. */
export async function createUsers(random: Random): Promise<User[]> {
  return Promise.all(
    CLAIMS.map(async ([subject, claimed]) => {
      const organizations = claimed.includes('*') ? ORGANIZATIONS : claimed;
      return {
        name: `${subject} of ${claimed.join(' ')}`,
        token: await tokenFor({ subject, organizations: claimed, scopes: SCOPES }),
        organizations,
        favourites: [
          EVENTS,
          TOTAL_PATH,
          ...organizations.map(newestPath),
          ...Array.from({ length: FAVOURITES }, () => randomPath(organizations, random)),
        ],
      };
    }),
  );
}

/** Any list that a user of these organizations may ask for. */
export function randomPath(organizations: readonly string[], random: Random): string {
  const parameters: string[] = [];
  const add = (probability: number, text: () => string) => {
    if (random.chance(probability)) parameters.push(text());
  };
  add(0.3, () => `organization_ids=${encoded(random.some(organizations))}`);
  add(0.3, () => `actions=${encoded(random.some(ACTIONS))}`);
  add(0.2, () => `statuses=${encoded(random.some(STATUSES))}`);
  add(0.2, () => `data_classifications=${encoded(random.some(CLASSIFICATIONS))}`);
  add(0.2, () => `principal_ids=${encoded(random.some(PRINCIPALS))}`);
  const startDays = random.int(DAYS);
  add(0.2, () => `start_date=${dayBefore(startDays)}`);
  add(0.1, () => `end_date=${dayBefore(random.int(startDays + 1) - 1)}`); // after the start
  add(0.4, () => `sort_field=${random.pick(['timestamp', 'sequence'])}`);
  add(0.4, () => `sort_direction=${random.pick(['asc', 'desc'])}`);
  add(0.8, () => `limit=${random.pick([1, 2, 5, 20, 60])}`);
  add(0.2, () => `offset=${random.int(30)}`);
  add(0.2, () => 'include_total=true');
  const base = random.chance(0.1) ? '/api/v1/performance/audit/events' : EVENTS;
  return parameters.length === 0 ? base : `${base}?${parameters.join('&')}`;
}

/** The same list, read on from a cursor of it. */
export function pathFrom(path: string, cursor: string): string {
  const [base = '', query = ''] = path.split('?');
  const parameters = query
    .split('&')
    .filter((part) => part !== '' && !/^(offset|cursor)=/.test(part));
  return `${base}?${[...parameters, `cursor=${cursor}`].join('&')}`;
}

/** Events to write: one or several, of one or several organizations, some with ids of the client's. */
export function randomEvents(random: Random): Record<string, unknown>[] {
  const count = random.chance(0.6) ? 1 : 1 + random.int(12);
  const hasIds = random.chance(0.3);
  const organizations = random.some(ORGANIZATIONS);
  return Array.from({ length: count }, () => ({
    ...(hasIds ? { id: random.uuid() } : {}),
    ...(random.chance(0.3)
      ? { timestamp: new Date(Date.now() - random.int(DAYS * DAY_MS)).toISOString() }
      : {}),
    organizationId: random.pick(organizations),
    principalId: random.pick(PRINCIPALS),
    action: random.pick(ACTIONS),
    status: random.pick(STATUSES),
    dataClassification: random.pick(CLASSIFICATIONS),
    ...(random.chance(0.2) ? { outcomeDescription: 'ü'.repeat(random.int(400)) } : {}),
  }));
}

function dayBefore(days: number): string {
  return new Date(Date.now() - days * DAY_MS).toISOString().slice(0, 10);
}

function encoded(elements: readonly string[]): string {
  return encodeURIComponent(listText(elements));
}
